"""What products and mixtures of corruptions share."""

from typing import Any

from ._base import AbstractCorruption, without_basis
from ._structure import common_structure


def check_members(
    owner: str, corruptions: tuple[Any, ...]
) -> tuple[AbstractCorruption, ...]:
    if not corruptions:
        raise ValueError(f"`{owner}` got no corruptions; expected at least one.")
    for corruption in corruptions:
        if not isinstance(corruption, AbstractCorruption):
            raise TypeError(
                f"`{owner}` got {type(corruption).__name__}; expected corruptions, as "
                f"in `{owner}(HeatBlur(shape), Fade())`. For a function use "
                "`FunctionCorruption`."
            )
    common_structure([member.structure for member in corruptions], product=True)
    return corruptions


def basis_member(
    owner: AbstractCorruption, members: tuple[AbstractCorruption, ...]
) -> AbstractCorruption:
    """The member that knows the basis of all.

    **Raises:** `ValueError` where there is no such basis.
    """
    basis = owner.structure.basis
    if basis is None:
        raise ValueError(without_basis(owner))
    return next(member for member in members if member.structure.basis == basis)

"""The base class of products and mixtures of corruptions."""

import abc
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._types import Sample, ScalarLike
from ._base import (
    AbstractCorruption,
    multiply_in_basis,
    without_basis,
    working_dtype,
)
from ._structure import common_structure


class AbstractCombination(AbstractCorruption):
    """Corruptions that act together, all at the same level.

    If all members are diagonal in one basis, so is the combination: `apply` multiplies
    by its eigenvalues, and costs one transform there and back. If not, `apply` is
    `apply_members`.
    """

    members: eqx.AbstractVar[tuple[AbstractCorruption, ...]]

    @abc.abstractmethod
    def apply_members(self, theta: ScalarLike, x: Sample) -> Sample:
        """`apply`, computed by calling `apply` of the members.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.
        """

    @abc.abstractmethod
    def combine(self, values: list[Float[Array, "..."]]) -> Float[Array, "..."]:
        """The eigenvalues of the combination, from those of its members."""

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        if self.structure.basis is None:
            return self.apply_members(theta, x)
        theta = jnp.asarray(theta, working_dtype(x))
        return multiply_in_basis(self, self.eigenvalues(theta), x)

    def to_basis(self, x: Sample) -> Sample:
        return self._basis_member().to_basis(x)

    def from_basis(self, coefficients: Sample) -> Sample:
        return self._basis_member().from_basis(coefficients)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        self._basis_member()
        return self.combine([member.eigenvalues(theta) for member in self.members])

    def _basis_member(self) -> AbstractCorruption:
        """The first member that knows the basis of all."""
        basis = self.structure.basis
        if basis is None:
            raise ValueError(without_basis(self))
        return next(m for m in self.members if m.structure.basis == basis)


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

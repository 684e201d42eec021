"""One corruption after another."""

import functools
import operator

from jaxtyping import Array, Float

from .._types import Sample, ScalarLike
from ._machinery import (
    AbstractCombination,
    AbstractCorruption,
    Structure,
    check_members,
    common_structure,
)


class Compose(AbstractCombination):
    r"""Corruptions one after the other, $C(\theta) = C_n(\theta) \cdots C_1(\theta)$.

    The first one given acts first. All get the same level; wrap a member in
    [`softsde.corruptions.Relevel`][] to give it a level of its own. If all members are
    diagonal in one basis, their eigenvalues multiply and the product costs one
    transform there and back.

    It promises what follows from the promises of its members. A product of symmetric
    (or positive) operators is symmetric (or positive) only if they commute. They are
    known to commute if they share a basis, or if all but one are multiples of the
    identity.

    !!! example

        ```python
        shape = (28, 28, 1)
        corruption = ss.corruptions.Compose(
            ss.corruptions.SoftMask(shape), ss.corruptions.Fade()
        )
        corruption.apply(0.5, image)
        ```
    """

    members: tuple[AbstractCorruption, ...]

    def __init__(self, *members: AbstractCorruption):
        """**Arguments:**

        - `members`: the corruptions, in the order in which they act; at least one.

        **Raises:** `ValueError` for none, or for members that share no range of levels
        or were made for different shapes; `TypeError` for anything but corruptions.
        """
        self.members = check_members("Compose", members)

    @property
    def structure(self) -> Structure:
        return common_structure([m.structure for m in self.members], product=True)

    def apply_members(self, theta: ScalarLike, x: Sample) -> Sample:
        for member in self.members:
            x = member.apply(theta, x)
        return x

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        if self.structure.symmetric:
            return self.apply(theta, x)
        for member in reversed(self.members):
            x = member.adjoint(theta, x)
        return x

    def combine(self, values: list[Float[Array, "..."]]) -> Float[Array, "..."]:
        return functools.reduce(operator.mul, values)

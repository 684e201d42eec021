"""One corruption after another."""

import functools
import operator

from jaxtyping import Array, Float

from .._types import Sample, ScalarLike
from ._base import AbstractCorruption
from ._combination import AbstractCombination, check_members
from ._structure import Structure, common_structure


class Compose(AbstractCombination):
    r"""Corruptions one after the other, $C(\theta) = C_n(\theta) \cdots C_1(\theta)$.

    The first one given acts first, and all get the same level; wrap those that count
    differently in [`softsde.corruptions.Relevel`][]. When all are diagonal in one basis
    their eigenvalues multiply, and the product costs one transform there and back.

    It promises what follows from the promises of its members. A product of symmetric
    operators is symmetric, and of positive ones positive, only when they commute: when
    they share a basis, or all but one are multiples of the identity.

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

    def __init__(self, *corruptions: AbstractCorruption):
        """**Arguments:**

        - `corruptions`: the members, in the order in which they act; at least one.

        **Raises:** `ValueError` for none, or for members that share no range of levels;
        `TypeError` for what is not a corruption.
        """
        self.members = check_members("Compose", corruptions)

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

"""One corruption after another."""

import functools
import operator

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Sample, ScalarLike
from ._base import AbstractCorruption, multiply_in_basis, working_dtype
from ._members import basis_member, check_members
from ._structure import Structure, common_structure


class Compose(AbstractCorruption):
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

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        if self.structure.basis is not None:
            theta = jnp.asarray(theta, working_dtype(x))
            return multiply_in_basis(self, self.eigenvalues(theta), x)
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

    def to_basis(self, x: Sample) -> Sample:
        return basis_member(self, self.members).to_basis(x)

    def from_basis(self, coefficients: Sample) -> Sample:
        return basis_member(self, self.members).from_basis(coefficients)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        basis_member(self, self.members)
        values = [member.eigenvalues(theta) for member in self.members]
        return functools.reduce(operator.mul, values)

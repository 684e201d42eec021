"""Corruptions that are diagonal in an orthonormal basis: one entrywise product."""

import abc

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..._types import Sample, ScalarLike
from . import _bases
from ._base import AbstractCorruption, multiply_in_basis, working_dtype
from ._structure import Structure


class AbstractDiagonalCorruption(AbstractCorruption):
    r"""A family $C(\theta) = Q^\top \operatorname{diag}(c(\theta))\, Q$.

    $Q$ is orthonormal and the same at every level; $c$ is real. A subclass writes
    `eigenvalues`, and `structure`, which names the basis. For a basis other than
    `"pixel"`, `"dct"`, `"fourier"` and `"every"` it also overrides `to_basis` and
    `from_basis`.

    !!! example

        ```python
        class Soften(ss.corruptions.AbstractDiagonalCorruption):
            @property
            def structure(self):
                return ss.corruptions.Structure(basis="dct", level_range=(0.0, None))

            def eigenvalues(self, theta):
                return 1 / (1 + theta * jnp.arange(16.0))


        Soften().apply(0.5, jnp.ones(16))
        ```
    """

    @property
    @abc.abstractmethod
    def structure(self) -> Structure:
        """The promises of this family: a `basis`, and what else is known."""

    @abc.abstractmethod
    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        r"""The eigenvalues $c(\theta)$, in the order of `to_basis`.

        **Returns:** an array in the dtype of `theta`, shaped like the sample, or a
        scalar where all are equal (always for the basis `"every"`).
        """

    def to_basis(self, x: Sample) -> Sample:
        """The coefficients $Q x$, real and shaped like `x`."""
        return _bases.to_basis(str(self.structure.basis), x)

    def from_basis(self, coefficients: Sample) -> Sample:
        r"""The sample $Q^\top z$ with the coefficients `z`."""
        return _bases.from_basis(str(self.structure.basis), coefficients)

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        theta = jnp.asarray(theta, working_dtype(x))
        return multiply_in_basis(self, self.eigenvalues(theta), x)

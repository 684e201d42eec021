"""The corruption that changes nothing, for the classic diffusions of noise only."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Sample, ScalarLike
from ._machinery import AbstractDiagonalCorruption, Structure


class Identity(AbstractDiagonalCorruption):
    r"""$C(\theta) = I$: a process with it corrupts by noise alone (VE, NCSN)."""

    @property
    def structure(self) -> Structure:
        return Structure(basis="every", positive_semidefinite=True, differentiable=True)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, ""]:
        return jnp.ones_like(jnp.asarray(theta))

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        del theta
        return x

"""Multiplication by the level: the corruption of VP, subVP and flow matching."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import ScalarLike
from ._machinery import AbstractDiagonalCorruption, Structure


class Scale(AbstractDiagonalCorruption):
    r"""$C(\theta) = \theta I$: the level is the factor itself, 1 for clean samples.

    With a level schedule that falls from 1, such as that of VP, a process is the
    classic $x_t = \alpha_t x_0 + \sigma_t \eta$. [`softsde.corruptions.Fade`][] is the
    same family with a level that grows from 0.
    """

    @property
    def structure(self) -> Structure:
        return Structure(
            basis="every",
            positive_semidefinite=True,
            differentiable=True,
            level_range=(0.0, None),
            identity_level=1.0,
        )

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, ""]:
        return jnp.asarray(theta)

"""Fading to zero, with a level that says how far."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import ScalarLike
from ._machinery import AbstractDiagonalCorruption, Structure


class Fade(AbstractDiagonalCorruption):
    r"""$C(\theta) = (1 - \theta) I$: clean at 0, all zero at 1.

    It is [`softsde.corruptions.Scale`][] with another meaning of the level: there the
    level is the factor that is left.
    """

    @property
    def structure(self) -> Structure:
        return Structure(
            basis="every",
            positive_semidefinite=True,
            differentiable=True,
            level_range=(0.0, 1.0),
            identity_level=0.0,
        )

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, ""]:
        return 1 - jnp.asarray(theta)

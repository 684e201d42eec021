"""A logistic curve from one value to another."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule
from ._between import between, check_ends, share_of


class Sigmoid(AbstractSchedule):
    r"""$A\, \mathrm{s}(k (t - \frac12)) + B$ with $\mathrm{s}(u) = 1 / (1 + e^{-u})$.

    $k$ is `steepness`. $A$ and $B$ follow from the values `start` at $t = 0$ and `end`
    at $t = 1$.
    """

    start: ArrayLike
    end: ArrayLike
    steepness: ArrayLike = 10.0

    def __check_init__(self):
        check_ends("Sigmoid", self.start, self.end)
        check_positive("Sigmoid", "steepness", self.steepness)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        half = 0.5 * jnp.asarray(self.steepness, t.dtype)
        # (s(k(t - 1/2)) - s(-k/2)) / (s(k/2) - s(-k/2)). The differences would cancel;
        # tanh a + tanh b = sinh(a + b) / (cosh a cosh b) has none.
        above = jnp.sinh(half * t)
        below = 2 * jnp.cosh(half * (t - 0.5)) * jnp.sinh(half / 2)
        return between(self.start, self.end, above / below)

    def inverse(self, value: ScalarLike) -> Scalar:
        share = share_of(self.start, self.end, value)
        half = 0.5 * jnp.asarray(self.steepness, share.dtype)
        return 0.5 + jnp.arctanh((2 * share - 1) * jnp.tanh(half / 2)) / half

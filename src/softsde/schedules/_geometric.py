"""Geometric growth: the logarithm of the value is linear in time."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive, concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, same_dtype


class Geometric(AbstractSchedule):
    r"""$a\,(b / a)^{t}$ for $t \in [0, 1]$, with $a$ `minimum` and $b$ `maximum`.

    The noise schedule of NCSN and of the variance-exploding SDE.
    """

    minimum: ArrayLike
    maximum: ArrayLike

    def __check_init__(self):
        check_positive("Geometric", "minimum", self.minimum)
        check_positive("Geometric", "maximum", self.maximum)
        low, high = concrete(self.minimum), concrete(self.maximum)
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"`Geometric` needs `minimum` < `maximum`, got {low} and {high}. For a "
                "value that does not change use `Constant`."
            )

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        low = jnp.asarray(self.minimum, t.dtype)
        high = jnp.asarray(self.maximum, t.dtype)
        return low * (high / low) ** t

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        low = jnp.asarray(self.minimum, t.dtype)
        high = jnp.asarray(self.maximum, t.dtype)
        return (t - t_next) * jnp.log(high / low)

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        low = jnp.asarray(self.minimum, value.dtype)
        high = jnp.asarray(self.maximum, value.dtype)
        return jnp.log(value / low) / jnp.log(high / low)

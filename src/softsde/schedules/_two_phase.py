"""The paper's noise schedule: it grows first, then stays while the corruption grows."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._checks import check_positive, concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, same_dtype


class TwoPhase(AbstractSchedule):
    r"""Geometric growth from `minimum` to `maximum` until `fraction`, then constant.

    $\sigma(t) = a\,(b/a)^{\min(t / f,\, 1)}$. The paper's noise (Section 4) grows from
    0.01 to 0.1 in the first 20 % of the time. After that only the blur grows.
    """

    minimum: ArrayLike = 0.01
    maximum: ArrayLike = 0.1
    fraction: ArrayLike = 0.2

    def __check_init__(self):
        check_positive("TwoPhase", "minimum", self.minimum)
        check_positive("TwoPhase", "maximum", self.maximum)
        low, high = concrete(self.minimum), concrete(self.maximum)
        if low is not None and high is not None and not low < high:
            raise ValueError(
                f"`TwoPhase` needs `minimum` < `maximum`, got {low} and {high}."
            )
        fraction = concrete(self.fraction)
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(
                f"`TwoPhase` got `fraction={fraction}`; expected a share of the time, "
                "in (0, 1]."
            )

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        low = jnp.asarray(self.minimum, t.dtype)
        high = jnp.asarray(self.maximum, t.dtype)
        # `where` rather than `minimum`: in the second phase the value is exactly
        # `maximum`, so increments there are exactly zero.
        fraction = jnp.asarray(self.fraction, t.dtype)
        growing = low * (high / low) ** (t / fraction)
        return jnp.where(t < fraction, growing, high)

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        low = jnp.asarray(self.minimum, t.dtype)
        high = jnp.asarray(self.maximum, t.dtype)
        fraction = jnp.asarray(self.fraction, t.dtype)
        growing = jnp.minimum(t, fraction) - jnp.minimum(t_next, fraction)
        return growing / fraction * jnp.log(high / low)

    def kinks(self) -> Float[Array, " kinks"]:
        return jnp.asarray(self.fraction, jnp.result_type(float))[None]

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        low = jnp.asarray(self.minimum, value.dtype)
        high = jnp.asarray(self.maximum, value.dtype)
        fraction = jnp.asarray(self.fraction, value.dtype)
        return fraction * jnp.log(value / low) / jnp.log(high / low)

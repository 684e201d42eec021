r"""A change of pace that can be trained: it increases for all parameters."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule


class SoftmaxWarp(AbstractSchedule):
    r"""$w$ from 0 to 1 with steps $\mathrm{softmax}(a)$, evenly spaced in time.

    It is linear between the knots $w(k / K) = \sum_{j \le k} \mathrm{softmax}(a)_j$.
    For all values of the $K$ `logits` it increases strictly and ends at 1, so gradient
    descent on them needs no constraint. Zeros give the identity.

    [`softsde.fitting.fit_warp`][] trains it. It can be the `warp` of a
    [`softsde.schedules.TimeWarp`][].

    !!! example

        ```python
        warp = ss.schedules.SoftmaxWarp(jnp.zeros(16))
        levels = ss.schedules.TimeWarp(ss.schedules.Linear(0.0, 18.0), warp)
        ```
    """

    logits: Float[Array, " knots"]

    def __init__(self, logits):
        """**Arguments:**

        - `logits`: logarithms of the steps, up to a constant; at least one.

        **Raises:** `ValueError` for logits of another shape, or that are not finite.
        """
        if not isinstance(logits, jnp.ndarray):
            logits = np.asarray(logits, np.float64)
        if np.ndim(logits) != 1 or np.shape(logits)[0] < 1:
            raise ValueError(
                "`SoftmaxWarp` needs `logits` of shape (knots,), got "
                f"{np.shape(logits)}."
            )
        known = concrete(logits)
        if known is not None and not np.isfinite(known).all():
            raise ValueError(f"`SoftmaxWarp` needs finite `logits`, got {known}.")
        self.logits = jnp.asarray(logits, jnp.result_type(float))

    def knots(self) -> Float[Array, " ends"]:
        """The values at the even times, 0 and 1 included."""
        steps = jnp.cumsum(jax.nn.softmax(self.logits))
        # The last sum is 1 up to rounding, so it is set to 1.
        return jnp.pad(steps[:-1], 1, constant_values=(0, 1))

    def kinks(self) -> Float[Array, " kinks"]:
        return jnp.linspace(0, 1, self.logits.size + 1, dtype=self.logits.dtype)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        times = jnp.linspace(0, 1, self.logits.size + 1, dtype=t.dtype)
        return jnp.interp(t, times, self.knots().astype(t.dtype))

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        times = jnp.linspace(0, 1, self.logits.size + 1, dtype=value.dtype)
        return jnp.interp(value, self.knots().astype(value.dtype), times)

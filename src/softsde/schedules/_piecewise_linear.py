"""Linear interpolation between points, such as levels chosen from a finite set."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, log_ratio_by_change, same_dtype


def _check(name: str, values: ArrayLike, rule: str) -> None:
    known = concrete(values)
    if known is None:
        return
    steps = np.diff(known)
    if rule == "strictly increase":
        wrong = steps <= 0
    else:
        # The direction is that from the first value to the last.
        wrong = steps * (known[-1] - known[0]) < 0
        wrong |= (known[-1] == known[0]) & (steps != 0)
    if not np.all(np.isfinite(known)) or wrong.any():
        at = (
            int(np.argmax(wrong)) if wrong.any() else int(np.argmin(np.isfinite(known)))
        )
        raise ValueError(
            f"`PiecewiseLinear` needs finite `{name}` that {rule}; from index {at} on "
            f"they are {known[at : at + 2].tolist()}. Sort them, and remove repeats."
        )


class PiecewiseLinear(AbstractSchedule):
    """Linear between the points `(times[i], levels[i])`, constant outside.

    The levels rise or fall. For a noise schedule they must rise.

    !!! example

        ```python
        # no blur while the noise grows, then 0.01 to 18 pixels
        levels = ss.schedules.PiecewiseLinear([0.2, 0.6, 1.0], [0.01, 2.0, 18.0])
        ```
    """

    times: Float[Array, " points"]
    levels: Float[Array, " points"]

    def __init__(self, times, levels):
        """**Arguments:**

        - `times`: strictly increasing, at least two.
        - `levels`: one for each time, never decreasing or never increasing.

        **Raises:** `ValueError` for unequal lengths, values that are not finite, times
        that do not increase or levels that change direction.
        """
        if not isinstance(times, jnp.ndarray):
            times = np.asarray(times, np.float64)
        if not isinstance(levels, jnp.ndarray):
            levels = np.asarray(levels, np.float64)
        if np.ndim(times) != 1 or np.shape(times) != np.shape(levels):
            raise ValueError(
                "`PiecewiseLinear` needs one level for each time, got `times` of shape "
                f"{np.shape(times)} and `levels` of shape {np.shape(levels)}."
            )
        if np.shape(times)[0] < 2:
            raise ValueError("`PiecewiseLinear` needs at least two points, got one.")
        _check("times", times, "strictly increase")
        _check("levels", levels, "never turn back")
        self.times = jnp.asarray(times, jnp.result_type(float))
        self.levels = jnp.asarray(levels, jnp.result_type(float))

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        return jnp.interp(t, self.times.astype(t.dtype), self.levels.astype(t.dtype))

    def kinks(self) -> Float[Array, " kinks"]:
        return self.times

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        times, levels = self.times.astype(t.dtype), self.levels.astype(t.dtype)
        # The change is a sum over the pieces that the step meets. All its terms have
        # one sign, so nothing cancels.
        early, late = jnp.minimum(t, t_next), jnp.maximum(t, t_next)
        inside = jnp.minimum(late, times[1:]) - jnp.maximum(early, times[:-1])
        slopes = jnp.diff(levels) / jnp.diff(times)
        change = jnp.sum(slopes * jnp.maximum(inside, 0))
        change = jnp.where(t < t_next, -change, change)
        return log_ratio_by_change(self(t), self(t_next), change)

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        times, levels = self.times.astype(value.dtype), self.levels.astype(value.dtype)
        # The negative of falling levels rises.
        way = jnp.where(levels[-1] < levels[0], -1, 1).astype(value.dtype)
        value, levels = way * value, way * levels
        # The first point that reaches `value`: on a flat piece, its start.
        right = jnp.clip(jnp.searchsorted(levels, value), 1, levels.size - 1)
        rise = levels[right] - levels[right - 1]
        share = jnp.where(
            rise > 0, (value - levels[right - 1]) / jnp.where(rise > 0, rise, 1), 0
        )
        return times[right - 1] + jnp.clip(share, 0, 1) * (
            times[right] - times[right - 1]
        )

r"""Even steps in the logarithm of the signal-to-noise ratio."""

import numpy as np
from jaxtyping import Array, Float

from ..corruptions import AbstractCorruption
from ..schedules import PiecewiseLinear
from ._candidates import (
    check_levels,
    check_num_points,
    check_start,
    level_moments,
    levels_at,
)


def log_snr_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_points: int = 32,
    start: float = 0.0,
) -> PiecewiseLinear:
    r"""Chooses levels along which the log signal-to-noise ratio falls evenly in time.

    The ratio is that of the whole sample, $\operatorname{tr}
    \operatorname{Cov}(C(\theta) x_0) / (n \sigma^2)$. The noise does not change while
    the level moves, as in the paper's process, so the logarithm of the variance is
    linear in time.

    Noise without a corruption needs no data: even steps in the log ratio are then
    [`softsde.schedules.Geometric`][] noise.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates; the variance is interpolated between
        them.
    - `data`: clean samples stacked in front.
    - `num_points`: of the schedule.
    - `start`: the time at which the level begins to move.

    **Returns:** the schedule.

    **Raises:** `ValueError` for unsorted levels or levels that the corruption does not
    have, a variance that grows along them or vanishes, no data or data that is not
    finite.

    !!! example

        ```python
        blur = ss.corruptions.HeatBlur(shape)
        levels = np.geomspace(0.1, 9.0, 64)
        schedule = ss.fitting.log_snr_schedule(blur, levels, images, start=0.2)
        ```
    """
    owner = "log_snr_schedule"
    levels = check_levels(owner, corruption, levels)
    check_num_points(owner, num_points, 2**16)
    check_start(owner, start)
    variance = level_moments(owner, corruption, levels, data).variance
    if not variance[-1] > 0:
        raise ValueError(
            f"`{owner}` needs signal at every level, and at {levels[-1]:g} none is "
            "left: its logarithm is infinite. End at a smaller level."
        )
    loss = -np.log(variance)
    targets = np.linspace(loss[0], loss[-1], num_points)
    chosen = levels_at(owner, "a variance that falls", levels, loss, targets)
    # The ends are exact, whatever rounding the logarithm brought.
    chosen[0], chosen[-1] = levels[0], levels[-1]
    return PiecewiseLinear(np.linspace(start, 1.0, num_points), chosen)

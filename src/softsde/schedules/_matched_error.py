r"""The paper's baseline: as far from the clean sample as another process is (Eq. 55).

A schedule that was tuned for one corruption is carried over to another by a quantity
that both have, the mean squared error against the clean sample,

$$E \lVert C(\theta_t) x_0 - x_0 \rVert^2 = E \lVert x^{\mathrm{ref}}_t - x_0
\rVert^2 = E \lVert C^{\mathrm{ref}}_t x_0 - x_0 \rVert^2 + n\, (\sigma^{\mathrm{ref}}_t
)^2.$$
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..corruptions import AbstractCorruption
from ._base import AbstractSchedule
from ._candidates import check_levels, check_num_points, level_moments, levels_at
from ._piecewise_linear import PiecewiseLinear


class MatchedErrorSchedule(eqx.Module):
    """The schedule that `matched_error_schedule` made, and what it was made from."""

    #: The level as a function of time.
    schedule: PiecewiseLinear
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: Root mean squared error of a component at each candidate, without noise.
    errors: Float[np.ndarray, " candidates"]
    #: The same of the reference process, at the times of `schedule`.
    reference_errors: Float[np.ndarray, " points"]
    #: The last of these times at which a candidate reaches the reference's error.
    matched_until: float = eqx.field(static=True)


def matched_error_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    reference_process: Any,
    *,
    noise: AbstractSchedule | None = None,
    num_points: int = 128,
) -> MatchedErrorSchedule:
    r"""At each time the level whose mean squared error is that of a reference process.

    The baseline that the paper compares its schedule with (Eq. 55): a blur that departs
    from the clean image as fast as the noise of a variance-exploding process does.

    A blur can take away what is there and no more, so its error ends where that of
    noise does not. From there on the level is the last candidate, and `matched_until`
    says when that is. To use the whole time, let the reference end at the same error:
    `ss.ve(0.01, result.errors[-1])`.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption.
        Between them the error is interpolated.
    - `data`: clean samples stacked in front.
    - `reference_process`: a [`softsde.Process`][] on samples of the same shape.
    - `noise`: the noise that goes with the levels, whose error is then theirs too; by
        default the corruption has to make up for all of the reference's error.
    - `num_points`: at how many evenly spaced times to match.

    **Returns:** a [`softsde.schedules.MatchedErrorSchedule`][].

    **Raises:** `ValueError` for unsorted levels, an error that falls along them, no
    data or data that is not finite.

    !!! example

        ```python
        matched = ss.schedules.matched_error_schedule(
            ss.corruptions.GaussianBlur(shape),
            np.geomspace(0.01, 18.0, 64),
            images,
            ss.ve(0.01, 0.5),
        )
        matched.schedule(0.5)  # pixels
        ```
    """
    owner = "matched_error_schedule"
    levels = check_levels(owner, levels)
    check_num_points(owner, num_points, 2**16)
    components = int(np.prod(np.shape(data)[1:]))
    moments = level_moments(owner, corruption, levels, data)
    errors = moments.error / components

    times = np.linspace(reference_process.t0, reference_process.t1, num_points)
    clock = jnp.asarray(times, jnp.result_type(float))
    # The reference is a family too, whose level is the time.
    lost = level_moments(owner, _AtTime(reference_process), times, data)
    wanted = lost.error / components
    wanted += np.asarray(jax.vmap(reference_process.noise)(clock), np.float64) ** 2
    targets = wanted
    if noise is not None:
        targets = targets - np.asarray(jax.vmap(noise)(clock), np.float64) ** 2
    chosen = levels_at(owner, "an error that grows", levels, errors, targets)
    # A reference that rests, or whose error dips, does not turn a schedule back.
    chosen = np.maximum.accumulate(chosen)
    reached = targets <= errors[-1] * (1 + 1e-5)
    return MatchedErrorSchedule(
        PiecewiseLinear(times, chosen),
        levels,
        np.sqrt(errors),
        np.sqrt(wanted),
        float(times[reached][-1]) if reached.any() else float(times[0]),
    )


class _AtTime(AbstractCorruption):
    """The operators of a process, with its time for their level."""

    process: Any

    def apply(self, theta, x):
        return self.process.apply(theta, x)

r"""The paper's baseline: lose the data at the same rate as another process (Eq. 55).

A schedule that was tuned for one process is carried over to another through a quantity
that both have, the mean squared error against the clean sample, noise included:

$$e_t = E \lVert x_0 - x_t \rVert^2 = E \lVert x_0 - C_t x_0 \rVert^2 + n \sigma_t^2.$$

The two need not end at the same error: a blur cannot take away more than there is, and
noise can grow without bound. So the paper matches the share of the final error,

$$\frac{e_t}{e_1} = \frac{e^{\mathrm{ref}}_t}{e^{\mathrm{ref}}_1}.$$
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..corruptions import AbstractCorruption
from ..processes import Process
from ..schedules import AbstractSchedule, PiecewiseLinear
from ._candidates import (
    check_levels,
    check_num_points,
    check_process,
    level_moments,
    levels_at,
)


class MatchedErrorSchedule(eqx.Module):
    """The schedule that `matched_error_schedule` made, and what it was made from."""

    #: The level as a function of time.
    schedule: PiecewiseLinear
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: Root mean squared error of a component at each candidate, without noise.
    errors: Float[np.ndarray, " candidates"]
    #: Root mean squared error of a component of the reference process, noise included,
    #: at the times of `schedule`.
    reference_errors: Float[np.ndarray, " points"]
    #: The last of these times at which the candidates reach the wanted error.
    matched_until: float = eqx.field(static=True)


def matched_error_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    reference_process: Process,
    *,
    noise: AbstractSchedule | None = None,
    absolute: bool = False,
    num_points: int = 128,
) -> MatchedErrorSchedule:
    r"""Chooses levels whose error grows like that of a reference process.

    The error is $e_t = E \lVert x_0 - x_t \rVert^2$. At each time the level is chosen
    such that $e_t / e_1$ is the same for both processes. This is the baseline of the
    paper (Eq. 55), with a variance-exploding process as the reference.

    With `absolute=True` the errors themselves are matched, $e_t = e^{\mathrm{ref}}_t$.
    The corruption may not reach the reference's error at the end. It then stays at its
    last candidate, and `matched_until` says since when.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption.
        The error is interpolated between them.
    - `data`: clean samples stacked in front.
    - `reference_process`: a process on samples of the same shape.
    - `noise`: the noise schedule of the new process, which contributes to its error;
        None for no noise.
    - `absolute`: match errors instead of shares of the final error.
    - `num_points`: the number of evenly spaced times at which to match.

    **Returns:** a [`softsde.fitting.MatchedErrorSchedule`][].

    **Raises:** `ValueError` for unsorted levels or levels that the corruption does not
    have, an error that falls along them, no data or data that is not finite.

    !!! example

        ```python
        matched = ss.fitting.matched_error_schedule(
            ss.corruptions.GaussianBlur(shape),
            np.geomspace(0.01, 18.0, 64),
            images,
            ss.ve(0.01, 50.0),
            noise=ss.schedules.TwoPhase(0.01, 0.1, 0.2),
        )
        matched.schedule(0.9)  # pixels
        ```
    """
    owner = "matched_error_schedule"
    levels = check_levels(owner, corruption, levels)
    check_process(owner, reference_process)
    check_num_points(owner, num_points, 2**16)
    components = int(np.prod(np.shape(data)[1:]))
    # All errors are those of one component: the sums over a sample divided by n.
    errors = level_moments(owner, corruption, levels, data).error / components

    times = np.linspace(reference_process.t0, reference_process.t1, num_points)
    lost = level_moments(owner, reference_process, times, data).error / components
    reference = lost + _squares(reference_process.noise, times)
    added = np.zeros(num_points) if noise is None else _squares(noise, times)
    if absolute:
        wanted = reference
    else:
        # Eq. 55: the share of the final error, at which the level is the last one.
        wanted = reference / reference[-1] * (errors[-1] + added[-1])
    targets = wanted - added
    chosen = levels_at(owner, "an error that grows", levels, errors, targets)
    # Where the wanted error falls for a while, the level waits.
    chosen = np.maximum.accumulate(chosen)
    reached = targets <= errors[-1] * (1 + 1e-5)
    return MatchedErrorSchedule(
        PiecewiseLinear(times, chosen),
        levels,
        np.sqrt(errors),
        np.sqrt(reference),
        float(times[reached][-1]) if reached.any() else float(times[0]),
    )


def _squares(
    schedule: AbstractSchedule, times: Float[np.ndarray, " points"]
) -> Float[np.ndarray, " points"]:
    values = jax.vmap(schedule)(jnp.asarray(times, jnp.result_type(float)))
    return np.asarray(values, np.float64) ** 2

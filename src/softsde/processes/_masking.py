"""The processes that mask, as a choice of operator and schedules."""

from typing import Literal

from ..corruptions import CenterMask, SoftMask
from ..schedules import AbstractSchedule, PiecewiseLinear, TwoPhase
from ._process import Process


def soft_mask(
    shape: tuple[int, ...],
    *,
    levels: AbstractSchedule | None = None,
    max_masked: float = 1.0,
    width: float = 0.1,
    grow: Literal["centre", "border"] = "centre",
    sigma_min: float = 0.01,
    sigma_max: float = 0.1,
    noise_fraction: float = 0.2,
) -> Process:
    r"""A growing mask whose edge fades, plus a little noise.

    It is ours, after the paper's other process: each pixel fades before it is gone. So
    it has a velocity and a drift, and sampling is exact in the limit of many steps. The
    paper's own mask, [`softsde.processes.hard_mask`][], is sharp, and
    [loses half of the spread](../exactness.md#operators-that-jump) whatever the number
    of steps. (*Soft* as in Soft Diffusion.)

    The noise is that of [`softsde.soft_blur`][]: it grows while `t` runs to
    `noise_fraction`, then holds while the mask grows. This course, the even growth up
    to a full mask and the shape of the edge are choices of this library.

    A fade of a pixel wants some steps of its own: the wider the edge, the fewer steps
    in all are needed, and the less the process looks like a mask. Train it with a loss
    that asks for what the next step reveals, such as
    `SoftScoreMatching() + 0.1 * CleanPrediction()`.

    **Arguments:**

    - `shape`: of one image in [0, 1], `(height, width, channels)`.
    - `levels`: the fraction of pixels that is masked, as a function of time. Chosen
        from data by [`softsde.fitting.transport_schedule`][]; by default it grows
        evenly from 0 to `max_masked`, once the noise has grown.
    - `max_masked`: the last fraction of that default.
    - `width`: of the edge, as a fraction of the pixels; see
        [`softsde.corruptions.SoftMask`][].
    - `grow`: from the `"centre"` outwards, or from the `"border"` inwards.
    - `sigma_min`, `sigma_max`, `noise_fraction`: the noise.

    **Raises:** `ValueError` for a fraction outside (0, 1], or what the mask refuses.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023.
    """
    if levels is None:
        levels = _even("soft_mask", max_masked, noise_fraction)
    noise = TwoPhase(sigma_min, sigma_max, noise_fraction)
    return Process(SoftMask(shape, width, grow), levels, noise)


def hard_mask(
    shape: tuple[int, ...],
    *,
    levels: AbstractSchedule | None = None,
    max_masked: float = 1.0,
    grow: Literal["centre", "border"] = "centre",
    sigma_min: float = 0.01,
    sigma_max: float = 0.1,
    noise_fraction: float = 0.2,
) -> Process:
    r"""The paper's masking: a sharp centred mask that grows, plus a little noise.

    **Sampling it is not exact.** A sharp mask jumps, so it has neither a velocity nor a
    drift. The solvers of this library step it, and at each jump they lose the spread of
    what it reveals: with the exact denoiser, independent pixels come out with about
    half of the right standard deviation on the paper's SDE,
    [however many steps are taken](../exactness.md#operators-that-jump).
    [`softsde.soft_mask`][], whose mask fades, does not have this error.

    The mask is the paper's, [`softsde.corruptions.CenterMask`][]; its course in time is
    that of [`softsde.soft_mask`][].

    **Arguments:** as [`softsde.soft_mask`][], without a `width`.

    **Raises:** `ValueError` for a fraction outside (0, 1], or what the mask refuses.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023.
    """
    if levels is None:
        levels = _even("hard_mask", max_masked, noise_fraction)
    noise = TwoPhase(sigma_min, sigma_max, noise_fraction)
    return Process(CenterMask(shape, grow), levels, noise)


def _even(owner: str, max_masked: float, start: float) -> PiecewiseLinear:
    """The masked fraction that grows evenly from the time `start` on."""
    if not 0 < max_masked <= 1:
        raise ValueError(
            f"`{owner}` got `max_masked={max_masked}`; expected a fraction of the "
            "pixels, in (0, 1]."
        )
    return PiecewiseLinear([start, 1.0], [0.0, max_masked])

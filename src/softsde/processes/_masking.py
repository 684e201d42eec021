"""The process that masks, as a choice of operator and schedules."""

from typing import Literal

from ..corruptions import CenterMask, SoftMask
from ..schedules import AbstractSchedule, PiecewiseLinear, TwoPhase
from ._process import Process


def soft_mask(
    shape: tuple[int, ...],
    *,
    levels: AbstractSchedule | None = None,
    max_masked: float = 1.0,
    width: float | None = None,
    grow: Literal["centre", "border"] = "centre",
    sigma_min: float = 0.01,
    sigma_max: float = 0.1,
    noise_fraction: float = 0.2,
) -> Process:
    r"""The paper's other process: a growing mask plus a little noise.

    The mask is the paper's, sharp and growing pixel by pixel. (*Soft* as in Soft
    Diffusion.) The noise is that of [`softsde.soft_blur`][]: it grows while `t` runs to
    `noise_fraction`, then holds while the mask grows. This course, and the even growth
    up to a full mask, are choices of this library.

    A sharp mask jumps, so it has neither a velocity nor a drift. The solvers of this
    library step it, but not exactly: with the exact denoiser, independent pixels come
    out with about half of the right standard deviation on the paper's SDE,
    [however many steps are taken](../exactness.md#operators-that-jump). Train it with
    a loss that asks for what the next step reveals, such as
    `SoftScoreMatching() + 0.1 * CleanPrediction()`. A mask with a `width` moves
    smoothly: it has a velocity and a drift, and sampling is exact in the limit of many
    steps.

    **Arguments:**

    - `shape`: of one image in [0, 1], `(height, width, channels)`.
    - `levels`: the fraction of pixels that is masked, as a function of time. Chosen
        from data by [`softsde.fitting.transport_schedule`][]; by default it grows
        evenly from 0 to `max_masked`, once the noise has grown.
    - `max_masked`: the last fraction of that default.
    - `width`: of the edge, as in [`softsde.corruptions.SoftMask`][]. `None` is the
        sharp one of the paper, [`softsde.corruptions.CenterMask`][].
    - `grow`: from the `"centre"` outwards, or from the `"border"` inwards.
    - `sigma_min`, `sigma_max`, `noise_fraction`: the noise.

    **Raises:** `ValueError` for a fraction outside (0, 1], or what the mask refuses.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023.
    """
    mask = CenterMask(shape, grow) if width is None else SoftMask(shape, width, grow)
    if levels is None:
        if not 0 < max_masked <= 1:
            raise ValueError(
                f"`soft_mask` got `max_masked={max_masked}`; expected a fraction of "
                "the pixels, in (0, 1]."
            )
        levels = PiecewiseLinear([noise_fraction, 1.0], [0.0, max_masked])
    return Process(mask, levels, TwoPhase(sigma_min, sigma_max, noise_fraction))

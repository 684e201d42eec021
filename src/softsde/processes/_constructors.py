"""The published processes by name: each a choice of operator and schedules, no code."""

import numpy as np

from ..corruptions import GaussianBlur, Identity
from ..schedules import AbstractSchedule, Constant, Geometric, PiecewiseLinear, TwoPhase
from ._process import Process


def ve(sigma_min: float = 0.01, sigma_max: float = 50.0) -> Process:
    r"""The variance-exploding process: $x_t = x_0 + \sigma_t \eta$, geometric noise.

    **Arguments:**

    - `sigma_min`, `sigma_max`: noise at times 0 and 1, in the units of the data. The
        defaults are those of score_sde for images in [0, 1].

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021.
    """
    return Process(Identity(), Constant(0.0), Geometric(sigma_min, sigma_max))


def soft_blur(
    shape: tuple[int, ...],
    *,
    levels: AbstractSchedule | None = None,
    max_blur: float = 18.0,
    sigma_min: float = 0.01,
    sigma_max: float = 0.1,
    noise_fraction: float = 0.2,
    half_size: int | None = None,
    padding: str = "zero",
) -> Process:
    r"""The paper's process: Gaussian blur plus a little noise (Section 4).

    The noise grows geometrically from `sigma_min` to `sigma_max` while `t` runs to
    `noise_fraction`, then holds while the blur runs.

    **Arguments:**

    - `shape`: of one image in [0, 1], `(height, width, channels)`.
    - `levels`: standard deviation of the blur, in pixels, as a function of time. Chosen
        from data by [`softsde.schedules.transport_schedule`][]; by default 32 points in
        geometric progression up to `max_blur`, with no blur while the noise grows.
    - `max_blur`: last standard deviation of that default (the paper's 18 at 32 pixels).
    - `sigma_min`, `sigma_max`, `noise_fraction`: the noise.
    - `half_size`, `padding`: of [`softsde.corruptions.GaussianBlur`][].
    """
    blur = GaussianBlur(shape, half_size, padding)  # pyright: ignore[reportArgumentType]
    if levels is None:
        # Below 0.3 pixels the kernel is a point: no time is spent there.
        curve = np.concatenate([[0.01], np.geomspace(0.3, max_blur, 31)])
        levels = PiecewiseLinear(np.linspace(noise_fraction, 1.0, 32), curve)
    return Process(blur, levels, TwoPhase(sigma_min, sigma_max, noise_fraction))

"""The published processes that blur: each a choice of operator and schedules."""

import numpy as np

from .._types import Padding
from ..corruptions import Compose, GaussianBlur, HeatBlur, Identity, Mix, Relevel, Scale
from ..schedules import (
    AbstractSchedule,
    BoundedCosineVP,
    BoundedCosineVPSignal,
    Constant,
    Cosine,
    Linear,
    PiecewiseLinear,
    TwoPhase,
)
from ._process import Process


def soft_blur(
    shape: tuple[int, ...],
    *,
    levels: AbstractSchedule | None = None,
    max_blur: float | None = None,
    sigma_min: float = 0.01,
    sigma_max: float = 0.1,
    noise_fraction: float = 0.2,
    blur_start: float | None = None,
    half_size: int | None = None,
    padding: Padding = "zero",
) -> Process:
    r"""The paper's process: Gaussian blur plus a little noise (Section 4).

    The noise grows geometrically from `sigma_min` to `sigma_max` while `t` runs to
    `noise_fraction`, then holds while the blur runs.

    **Arguments:**

    - `shape`: of one image in [0, 1], `(height, width, channels)`.
    - `levels`: standard deviation of the blur, in pixels, as a function of time. Chosen
        from data by [`softsde.fitting.transport_schedule`][]; by default 32 points in
        geometric progression up to `max_blur`, with no blur while the noise grows.
    - `max_blur`: last standard deviation of that default; 18 up to 32 pixels and 23
        above, which are for images of 32 and of 64.
    - `sigma_min`, `sigma_max`, `noise_fraction`: the noise.
    - `blur_start`: the time at which the blur of that default begins, in [0, 1); when
        the noise has grown, unless told otherwise. The paper's ablation of blur and
        noise together is `noise_fraction=1.0, blur_start=0.0`.
    - `half_size`, `padding`: of [`softsde.corruptions.GaussianBlur`][]; half size 32 up
        to 32 pixels and 80 above, and zeros outside, unless told otherwise.

    **Raises:** `ValueError` for a blur that begins outside [0, 1), or what its parts
    refuse.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023.
    """
    blur = GaussianBlur(shape, half_size, padding)
    if levels is None:
        if max_blur is None:
            max_blur = 18.0 if max(shape[:2]) <= 32 else 23.0
        # Below 0.3 pixels the kernel is a point: no time is spent there.
        curve = np.concatenate([[0.01], np.geomspace(0.3, max_blur, 31)])
        start = noise_fraction if blur_start is None else blur_start
        if not 0 <= start < 1:
            raise ValueError(
                f"`soft_blur` got a blur that begins at {start}; expected a time in "
                "[0, 1). With noise that grows throughout, give `blur_start=0.0`."
            )
        levels = PiecewiseLinear(np.linspace(start, 1.0, 32), curve)
    return Process(blur, levels, TwoPhase(sigma_min, sigma_max, noise_fraction))


def heat_dissipation(
    shape: tuple[int, ...],
    *,
    min_blur: float = 0.5,
    max_blur: float = 24.0,
    num_levels: int = 200,
    sigma: float = 0.01,
) -> Process:
    r"""Inverse heat dissipation: the heat equation, and a little noise throughout.

    $x_t = C(\theta_t)\, x_0 + \sigma \eta$ with $C(\theta)$ the heat equation run for
    the time $\theta^2 / 2$ ([`softsde.corruptions.HeatBlur`][]). $\theta$ is 0 at
    $t = 0$ and the $k$-th of `num_levels` values in geometric progression at
    $t = k / K$; between them it is linear.

    Their sampler predicts the sample one level below, by a network trained at the noise
    0.01, and adds noise of standard deviation 0.0125. It is
    [`softsde.Naive`][softsde.solvers.Naive] with `num_steps=200`, run on
    `heat_dissipation(shape, sigma=0.0125)`.

    **Arguments:**

    - `shape`: of one image in [0, 1], `(height, width, channels)`.
    - `min_blur`, `max_blur`: first and last standard deviation, in pixels. The default
        is theirs for CIFAR-10; for larger images they blur by half the side (32 at 64
        pixels, 64 at 128, 128 at 256).
    - `num_levels`: their $K$.
    - `sigma`: standard deviation of the noise, the same at all times.

    **Raises:** `ValueError` for fewer than two levels, or levels that do not rise from
    a positive one.

    ??? cite "Reference"

        Rissanen, Heinonen and Solin, *Generative Modelling With Inverse Heat
        Dissipation*, ICLR 2023.
    """
    if num_levels < 2 or not 0 < min_blur < max_blur:
        raise ValueError(
            f"`heat_dissipation` got `num_levels={num_levels}` from `min_blur="
            f"{min_blur}` to `max_blur={max_blur}`; expected at least two levels, and "
            "0 < `min_blur` < `max_blur`."
        )
    blurs = np.concatenate([[0.0], np.geomspace(min_blur, max_blur, num_levels)])
    levels = PiecewiseLinear(np.linspace(0.0, 1.0, num_levels + 1), blurs)
    return Process(HeatBlur(shape), levels, Constant(sigma))


def blurring_diffusion(
    shape: tuple[int, ...],
    *,
    max_blur: float = 20.0,
    min_scale: float = 0.001,
    log_snr_min: float = -10.0,
    log_snr_max: float = 10.0,
) -> Process:
    r"""Blurring diffusion: variance preserving, with less signal in high frequencies.

    $C_t = Q^\top \operatorname{diag}(\alpha_t)\, Q$ in the DCT basis, with

    $$\alpha_t = a_t \big((1 - d)\, e^{-\omega^2 \theta_t^2 / 2} + d\big), \qquad
    \theta_t = \theta_{\max} \sin^2(\pi t / 2),$$

    $a_t = \cos \phi_t$, $\sigma_t = \sin \phi_t$ the cosine schedule with a bounded log
    signal-to-noise ratio ([`softsde.schedules.BoundedCosineVP`][]). Their dissipation
    time is $\theta_t^2 / 2$. The level of the corruption is the time itself, since two
    factors move.

    **Arguments:**

    - `shape`: of one image in [-1, 1], `(height, width, channels)`.
    - `max_blur`: $\theta_{\max}$, in pixels.
    - `min_scale`: $d$, what the blur leaves of the highest frequencies, in (0, 1).
    - `log_snr_min`, `log_snr_max`: $\log a_t^2 / \sigma_t^2$ at the times 1 and 0.

    **Raises:** `ValueError` for a share outside (0, 1), a blur that is not positive or
    ratios that do not fall.

    ??? cite "Reference"

        Hoogeboom and Salimans, *Blurring Diffusion Models*, ICLR 2023.
    """
    if not (0 < min_scale < 1 and max_blur > 0):
        raise ValueError(
            f"`blurring_diffusion` got `min_scale={min_scale}` and `max_blur="
            f"{max_blur}`; expected a share in (0, 1) and a positive blur. Without "
            "blur it is variance-preserving diffusion: see `cosine_vp`."
        )
    heat = Mix(HeatBlur(shape), Identity(), weights=[1 - min_scale, min_scale])
    signal = BoundedCosineVPSignal(log_snr_min, log_snr_max)
    corruption = Compose(
        _over_time(heat, Cosine(0.0, max_blur)), _over_time(Scale(), signal)
    )
    noise = BoundedCosineVP(log_snr_min, log_snr_max)
    return Process(corruption, Linear(0.0, 1.0), noise)


def _over_time(corruption, schedule: AbstractSchedule) -> Relevel:
    return Relevel(corruption, schedule, differentiable=True, level_range=(0.0, 1.0))

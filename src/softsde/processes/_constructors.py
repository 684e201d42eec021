"""The published processes by name: each a choice of operator and schedules, no code."""

from ..corruptions import AbstractCorruption, Identity, Scale
from ..schedules import (
    EDM,
    VP,
    AbstractSchedule,
    Constant,
    CosineVP,
    CosineVPSignal,
    Geometric,
    Linear,
    SubVP,
    VPSignal,
)
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


def vp(beta_min: float = 0.1, beta_max: float = 20.0, *, t0: float = 1e-3) -> Process:
    r"""The variance-preserving process: $x_t = \alpha_t x_0 + \sqrt{1 - \alpha_t^2}\,
    \eta$.

    $\alpha_t = \exp(-\frac12 \int_0^t \beta)$ with $\beta$ linear in time: DDPM in
    continuous time.

    **Arguments:**

    - `beta_min`, `beta_max`: $\beta$ at times 0 and 1. The defaults are those of
        score_sde, for data in [-1, 1].
    - `t0`: where time begins, which must be after 0: there is no noise at 0, and its
        growth is infinitely fast. The default is where the samplers of score_sde stop,
        with $\sigma \approx 0.01$.

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021.
    """
    signal, noise = VPSignal(beta_min, beta_max), VP(beta_min, beta_max)
    return Process(Scale(), signal, noise, _late("vp", t0))


def subvp(
    beta_min: float = 0.1, beta_max: float = 20.0, *, t0: float = 1e-3
) -> Process:
    r"""The sub-VP process: the signal of [`softsde.vp`][], with $\sigma_t = 1 -
    \alpha_t^2$.

    **Arguments:** as [`softsde.vp`][]. The noise is smaller: $10^{-4}$ at the default
    `t0`.

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021.
    """
    signal, noise = VPSignal(beta_min, beta_max), SubVP(beta_min, beta_max)
    return Process(Scale(), signal, noise, _late("subvp", t0))


def cosine_vp(offset: float = 0.008, *, t0: float = 1e-3) -> Process:
    r"""The variance-preserving process with the cosine schedule.

    Nothing of the signal is left at $t = 1$, $\alpha_1 = 0$.

    **Arguments:**

    - `offset`: their $s$, which keeps the noise from starting too slowly.
    - `t0`: where time begins; after 0, as in [`softsde.vp`][].

    ??? cite "Reference"

        Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML
        2021.
    """
    signal, noise = CosineVPSignal(offset), CosineVP(offset)
    return Process(Scale(), signal, noise, _late("cosine_vp", t0))


def edm(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Process:
    r"""EDM's process: $x_t = x_0 + \sigma_t \eta$, on EDM's noise levels.

    EDM has $\sigma$ for its time. Here $t$ runs from 0 to 1 and $\sigma_t$ through the
    levels, so that evenly spaced times are the steps of EDM.

    **Arguments:**

    - `sigma_min`, `sigma_max`: noise at times 0 and 1; the defaults are for images in
        [-1, 1].
    - `rho`: how much closer the levels lie at the clean end.

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """
    return Process(Identity(), Constant(0.0), EDM(sigma_min, sigma_max, rho))


def rectified_flow(*, t0: float = 1e-3) -> Process:
    r"""Rectified flow: $x_t = (1 - t)\, x_0 + t\, \eta$.

    It is flow matching with straight paths. At $t = 1$ nothing of the signal is left.
    (The literature also runs this clock the other way, with the data at 1.)

    **Arguments:**

    - `t0`: where time begins, which is the standard deviation of the noise there. It
        must be after 0, where the score has no value: sampling ends at `t0`, and there
        the denoiser removes what noise is left.

    ??? cite "Reference"

        Liu, Gong and Liu, *Flow Straight and Fast: Learning to Generate and Transfer
        Data with Rectified Flow*, ICLR 2023. Lipman, Chen, Ben-Hamu, Nickel and Le,
        *Flow Matching for Generative Modeling*, ICLR 2023.
    """
    signal, noise = Linear(1.0, 0.0), Linear(0.0, 1.0)
    return Process(Scale(), signal, noise, _late("rectified_flow", t0))


def cold(
    corruption: AbstractCorruption, levels: AbstractSchedule, sigma: float = 0.0
) -> Process:
    r"""Cold Diffusion: a corruption and no noise, $x_t = C_t x_0$.

    Train it with [`softsde.losses.CleanPrediction`][]. Without noise $x_t$ has no
    density, hence no score; what needs one asks for a small, constant `sigma` and then
    leaves it alone: as $d\sigma_t^2 = 0$, a Momentum step is $x + (C_{t'} - C_t) D$,
    which is the sampler of Cold Diffusion (their Algorithm 2).

    **Arguments:**

    - `corruption`, `levels`: the degradation and its course in time.
    - `sigma`: standard deviation of the noise at all times.

    ??? cite "Reference"

        Bansal, Borgnia, Chu, Li, Kazemi, Huang, Goldblum, Geiping and Goldstein, *Cold
        Diffusion: Inverting Arbitrary Image Transforms Without Noise*, NeurIPS 2023.
    """
    return Process(corruption, levels, Constant(sigma))


def _late(owner: str, t0: float) -> float:
    if not 0 < t0 < 1:
        raise ValueError(
            f"`{owner}` got `t0={t0}`; expected a time in (0, 1). At time 0 there is "
            "no noise, so no score to learn or to follow: begin a little later."
        )
    return t0

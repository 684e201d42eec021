"""The losses of the papers by name: each a choice of operator and weight, no code."""

from ._noise_levels import AtNoiseLevels
from ._weighted_residual import WeightedResidual
from ._weights import Weight


def SoftScoreMatching(weight: Weight = "one") -> WeightedResidual:
    r"""Soft Score Matching: $w(t) \lVert C_t (\hat x_0 - x_0) \rVert^2$ (Eq. 8-12).

    The denoiser's prediction is corrupted before it is compared, so the loss asks for
    what the score needs, $C_t E[x_0|x_t]$, and no more.

    **Arguments:**

    - `weight`: `"one"`, `"inverse_variance"`, `"inverse_variance_squared"` (with which
        it is denoising score matching), or a callable of time.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Section 3.1.
    """
    return WeightedResidual("corruption", weight)


def DenoisingScoreMatching() -> WeightedResidual:
    r"""Denoising score matching on the score that Tweedie's formula gives (Eq. 1, 7).

    $\frac1d \lVert s(x_t) - \nabla \log q_t(x_t | x_0) \rVert^2$ with
    $s = (C_t \hat x_0 - x_t)/\sigma_t^2$. The two scores differ by
    $C_t(\hat x_0 - x_0)/\sigma_t^2$, so this is Soft Score Matching at $1/\sigma_t^4$.
    """
    return WeightedResidual("corruption", "inverse_variance_squared")


def CleanPrediction(weight: Weight = "one") -> WeightedResidual:
    r"""Prediction of the clean sample: $w(t) \lVert \hat x_0(x_t) - x_0 \rVert^2$.

    The loss of Cold Diffusion; it identifies all of $E[x_0|x_t]$, also what the
    corruption has erased.

    **Arguments:**

    - `weight`: as in [`softsde.losses.SoftScoreMatching`][].
    """
    return WeightedResidual("identity", weight)


def VelocityMatching(weight: Weight = "one") -> WeightedResidual:
    r"""Conditional flow matching: regression of the velocity (Eq. 19 and 49).

    $\frac1d \lVert u(x_t, \hat x_0) - (\dot C_t x_0 + \dot\sigma_t \eta) \rVert^2$ with
    $u$ that of `process.velocity`. The two velocities differ by $B_t (\hat x_0 - x_0)$,
    $B_t = \sigma_t \frac{d}{dt}(C_t / \sigma_t) = \dot C_t -
    \frac{\dot\sigma_t}{\sigma_t} C_t$, so this is the weighted residual at $B_t$. It
    sees what the next step of a sampler reveals, where $C_t$ itself is singular.

    **Arguments:**

    - `weight`: as in [`softsde.losses.SoftScoreMatching`][].

    The process must have $\sigma_t > 0$, as its velocity needs.

    ??? cite "Reference"

        Lipman, Chen, Ben-Hamu, Nickel and Le, *Flow Matching for Generative Modeling*,
        ICLR 2023.
    """
    return WeightedResidual("velocity", weight)


def AnnealedDSM(sigmas) -> AtNoiseLevels:
    r"""Denoising score matching on discrete noise levels, as NCSN is trained.

    The mean over the levels of $\lambda(\sigma)\, \frac1d \lVert s(x_t) + \eta / \sigma
    \rVert^2$ with $\lambda(\sigma) = \sigma^2$, which brings all levels to one scale.
    (The published objective sums over the components and halves: it is $d / 2$ times
    this.)

    !!! example

        ```python
        sigmas = ss.schedules.noise_sequence("geometric", 200, 1.0, 0.01)
        loss = ss.losses.AnnealedDSM(sigmas)
        value = loss(denoiser, ss.ve(0.01, 1.0), x0, t, key=key)
        ```

    **Arguments:**

    - `sigmas`: the levels, as of [`softsde.schedules.noise_sequence`][].

    ??? cite "Reference"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019.
    """
    return AtNoiseLevels(WeightedResidual("corruption", "inverse_variance"), sigmas)

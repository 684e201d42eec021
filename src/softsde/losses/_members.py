"""The losses of the papers by name: each a choice of operator and weight, no code."""

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

"""Soft Score Matching, the loss of *Soft Diffusion*."""

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._operators import corruption
from ._residual import AbstractResidualLoss, weighted_square
from ._weights import Weight, check_weight


class SoftScoreMatching(AbstractResidualLoss):
    r"""$w(t)\, \frac1d \lVert C_t (\hat x_0(x_t) - x_0) \rVert^2$ (Eq. 8-12).

    The prediction is corrupted before it is compared, so the loss asks for $C_t
    E[x_0|x_t]$, which is what the score needs, and for no more.

    The default weight is the paper's: Appendix D trains all models with $w(t) =
    1/\sigma_t^2$.

    !!! example

        ```python
        loss = ss.losses.SoftScoreMatching()
        value = loss(denoiser, x0, t, key=key)
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Section 3.1.
    """

    weight: Weight

    def __init__(self, weight: Weight = "inverse_variance"):
        r"""**Arguments:**

        - `weight`: `"inverse_variance"`, the paper's; `"inverse_std"`; `"one"`, for a
            process without noise; `"inverse_variance_squared"`, with which it is
            denoising score matching; or a function `(process, t)`.

        **Raises:** `ValueError` for an unknown name.
        """
        check_weight("SoftScoreMatching", weight)
        self.weight = weight

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        # w(t) |C_t (x0_hat - x0)|^2 / d
        return weighted_square(corruption, self.weight, process, t, residual)

"""Denoising score matching, on the score itself."""

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._operators import corruption
from ._residual import AbstractResidualLoss, weighted_square


class DenoisingScoreMatching(AbstractResidualLoss):
    r"""$\frac1d \lVert s(x_t) - \nabla \log q_t(x_t | x_0) \rVert^2$ (Eq. 1 and 7).

    The score is that of Tweedie's formula, $s = (C_t \hat x_0 - x_t)/\sigma_t^2$. The
    two scores differ by $C_t(\hat x_0 - x_0)/\sigma_t^2$, so this is Soft Score
    Matching with the weight $1/\sigma_t^4$.

    ??? cite "Reference"

        Vincent, *A Connection Between Score Matching and Denoising Autoencoders*,
        Neural Computation 2011.
    """

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        # |C_t (x0_hat - x0) / sigma_t^2|^2 / d
        return weighted_square(
            corruption, "inverse_variance_squared", process, t, residual
        )

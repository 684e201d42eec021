"""Prediction of the clean sample."""

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._operators import identity
from ._residual import AbstractResidualLoss, weighted_square
from ._weights import Weight, check_weight


class CleanPrediction(AbstractResidualLoss):
    r"""$w(t)\, \frac1d \lVert \hat x_0(x_t) - x_0 \rVert^2$.

    It identifies all of $E[x_0|x_t]$, also what the corruption has erased. It is the
    loss of Cold Diffusion, which has no weight and no noise, hence the default `"one"`;
    and that of EDM, with [`softsde.losses.EDMWeight`][].

    ??? cite "Reference"

        Bansal, Borgnia, Chu, Li, Kazemi, Huang, Goldblum, Geiping and Goldstein, *Cold
        Diffusion: Inverting Arbitrary Image Transforms Without Noise*, NeurIPS 2023.
    """

    weight: Weight

    def __init__(self, weight: Weight = "one"):
        """**Arguments:**

        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].

        **Raises:** `ValueError` for an unknown name.
        """
        check_weight("CleanPrediction", weight)
        self.weight = weight

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        # w(t) |x0_hat - x0|^2 / d
        return weighted_square(identity, self.weight, process, t, residual)

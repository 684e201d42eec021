r"""The general loss on a residual: $w(t) \lVert B_t (\hat x_0(x_t) - x_0) \rVert^2$."""

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._operators import OPERATORS, Operator
from ._residual import AbstractResidualLoss, weighted_square
from ._weights import Weight, check_weight


class WeightedResidual(AbstractResidualLoss):
    r"""$w(t)\, \frac1d \lVert B_t (\hat x_0(x_t) - x_0) \rVert^2$ for one sample.

    The operator $B_t$ decides which part of the posterior mean is learnt: the loss is
    least where $B_t \hat x_0 = B_t E[x_0|x_t]$, and the null space of $B_t$ stays free.

    !!! example

        ```python
        def detail(process, t, residual):
            return residual - process.apply(t, residual)


        loss = ss.losses.WeightedResidual(detail, weight="one")
        value = loss(denoiser, x0, t, key=key)
        ```
    """

    # Not static: an operator or a weight may be a module with arrays in it.
    operator: Operator
    weight: Weight

    def __init__(
        self, operator: Operator = "corruption", weight: Weight = "inverse_variance"
    ):
        r"""**Arguments:**

        - `operator`: `"corruption"`, $C_t$; `"identity"`; `"velocity"`, $\sigma_t
            \frac{d}{dt}(C_t / \sigma_t)$; or a function `(process, t, residual)` that
            returns an array and is linear in the residual.
        - `weight`: a name or a function `(process, t)`, see
            [`softsde.losses.weight_function`][].

        **Raises:** `ValueError` for an unknown name.
        """
        if not callable(operator) and operator not in OPERATORS:
            raise ValueError(
                f"`WeightedResidual` got `operator={operator!r}`; expected one of "
                f"{tuple(OPERATORS)}, or a function `(process, t, residual)`."
            )
        check_weight("WeightedResidual", weight)
        self.operator = operator
        self.weight = weight

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        operator = self.operator
        if not callable(operator):
            operator = OPERATORS[operator]
        return weighted_square(operator, self.weight, process, t, residual)

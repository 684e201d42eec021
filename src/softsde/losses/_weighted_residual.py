r"""The general loss: $w(t) \lVert B_t (\hat x_0(x_t) - x_0) \rVert^2$.

The operator $B_t$ decides what of the posterior mean the loss can see: it identifies
$B_t E[x_0|x_t]$ and leaves the null space of $B_t$ free. Every named loss on a denoiser
is this one with another operator, so there is one code path and one test of it.
"""

from collections.abc import Callable
from typing import Literal

import jax.numpy as jnp

from .._types import Sample, Scalar, ScalarLike
from ..processes import Process
from ._residual_loss import AbstractResidualLoss
from ._weights import Weight, weight_function

Operator = (
    Literal["corruption", "identity", "velocity"]
    | Callable[[Process, ScalarLike, Sample], Sample]
)


def _corruption(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    return process.apply(t, residual)


def _identity(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    del process, t
    return residual


def _velocity(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    process.require_noise("The operator 'velocity'")
    rate = process.noise.derivative(t) / process.sigma(t)
    return process.apply_dot(t, residual) - rate * process.apply(t, residual)


_OPERATORS = {
    "corruption": _corruption,
    "identity": _identity,
    "velocity": _velocity,
}


class WeightedResidual(AbstractResidualLoss):
    r"""$w(t)\, \frac1d \lVert B_t (\hat x_0(x_t, t) - x_0) \rVert^2$, for one sample.

    The mean over the $d$ components, not the sum, so that one learning rate and one
    clipping norm serve every resolution. The operator $B_t$ is `"corruption"`, $C_t$;
    `"identity"`; `"velocity"`, $\sigma_t \frac{d}{dt}(C_t / \sigma_t)$; or a function
    of one's own, `(process, t, residual)`, linear in the residual.

    !!! example

        ```python
        loss = ss.losses.WeightedResidual("corruption", weight="inverse_variance")
        value = loss(denoiser, process, x0, t, key=key)
        ```
    """

    # Not static: an operator or a weight may be a module with arrays in it.
    operator: Operator = "corruption"
    weight: Weight = "one"

    def __check_init__(self):
        if not callable(self.operator) and self.operator not in _OPERATORS:
            raise ValueError(
                f"`WeightedResidual` got `operator={self.operator!r}`; expected one of "
                f"{tuple(_OPERATORS)} or a callable `(process, t, residual)`."
            )

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        weight = weight_function(self.weight, process)
        operator = (
            self.operator if callable(self.operator) else _OPERATORS[self.operator]
        )
        return weight(t) * jnp.mean(operator(process, t, residual) ** 2)

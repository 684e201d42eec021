r"""Losses on the residual $\hat x_0 - x_0$, and their sums.

One evaluation of the network gives the residual, and any number of penalties may use
it: `loss_a + 0.1 * loss_b` costs as much as `loss_a`.
"""

import abc

import jax
import jax.numpy as jnp

from .._checks import check_samples, check_shape
from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process
from ._base import AbstractLoss, check_denoiser
from ._operators import OperatorFunction
from ._weights import Weight, weight_function


class AbstractResidualLoss(AbstractLoss):
    """A loss that penalises the residual of the denoiser's prediction.

    A subclass writes `penalty`. Losses of this kind can be added and multiplied by a
    number, and a sum evaluates the denoiser once.

    !!! example

        ```python
        loss = ss.losses.SoftScoreMatching() + 0.1 * ss.losses.CleanPrediction()
        value = loss(denoiser, x0, t, key=key)
        ```
    """

    @abc.abstractmethod
    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        r"""The cost of a residual.

        **Arguments:**

        - `process`, `t`: the process and the time of the prediction.
        - `residual`: $\hat x_0(x_t) - x_0$.

        **Returns:** a scalar.
        """

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        owner = type(self).__name__
        check_denoiser(owner, denoiser)
        check_samples(owner, x0)
        process, t = denoiser.process, jnp.asarray(t, x0.dtype)
        noise_key, dropout_key = jax.random.split(key)
        x_t, _ = process.perturb(t, x0, key=noise_key)
        x0_hat = denoiser(t, x_t, condition, key=dropout_key)
        check_shape("the denoiser's output", x0.shape, x0_hat.shape)
        return self.penalty(process, t, x0_hat - x0)

    def __add__(self, other: "AbstractResidualLoss") -> "SumOfLosses":
        if not isinstance(other, AbstractResidualLoss):
            return NotImplemented
        return SumOfLosses((self, other), (1.0, 1.0))

    def __mul__(self, factor: float) -> "SumOfLosses":
        if isinstance(factor, AbstractLoss):
            return NotImplemented
        return SumOfLosses((self,), (factor,))

    def __rmul__(self, factor: float) -> "SumOfLosses":
        return self * factor


class SumOfLosses(AbstractResidualLoss):
    """`factors[0] * losses[0] + factors[1] * losses[1] + ...` from one evaluation."""

    losses: tuple[AbstractResidualLoss, ...]
    factors: tuple[float, ...]

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        total = jnp.zeros((), residual.dtype)
        for factor, loss in zip(self.factors, self.losses, strict=True):
            total = total + factor * loss.penalty(process, t, residual)
        return total


def weighted_square(
    operator: OperatorFunction,
    weight: Weight,
    process: Process,
    t: ScalarLike,
    residual: Sample,
) -> Scalar:
    # w(t) |B_t (x0_hat - x0)|^2 / d. The mean over the d components and not their sum:
    # one learning rate and one clipping norm then serve every resolution.
    seen = operator(process, t, residual)
    return weight_function(weight)(process, t) * jnp.mean(seen**2)

r"""Losses on the residual $\hat x_0 - x_0$, which may be added up.

One evaluation of the network gives the residual, and any number of penalties may look
at it: `loss_a + 0.1 * loss_b` costs what `loss_a` costs.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp

from .._checks import check_shape
from .._types import DenoiserFn, Key, Sample, Scalar, ScalarLike
from ..parametrisations._denoiser import call_denoiser
from ..processes import Process


class AbstractResidualLoss(eqx.Module):
    """A loss of one sample at one time that penalises what the denoiser got wrong.

    A subclass writes `penalty`. Losses of this kind add up and can be multiplied by a
    number, and a sum evaluates the denoiser once.

    !!! example

        ```python
        loss = ss.losses.SoftScoreMatching() + 0.1 * ss.losses.CleanPrediction()
        value = loss(denoiser, process, x0, t, key=key)
        ```
    """

    @abc.abstractmethod
    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        r"""What the residual costs.

        **Arguments:**

        - `process`, `t`: the process and the time of the prediction.
        - `residual`: $\hat x_0(x_t) - x_0$.

        **Returns:** a scalar.
        """

    def __call__(
        self,
        denoiser: DenoiserFn,
        process: Process,
        x0: Sample,
        t: ScalarLike,
        *,
        key: Key,
    ) -> Scalar:
        """The loss of one sample at one time.

        **Arguments:**

        - `denoiser`: `denoiser(t, x) -> x0_hat`.
        - `process`: that corrupts.
        - `x0`: one clean sample.
        - `t`: one time.
        - `key`: of the noise, and of the denoiser's dropout.

        **Returns:** a scalar.
        """
        noise_key, dropout_key = jax.random.split(key)
        t = jnp.asarray(t, x0.dtype)
        x_t, _ = process.perturb(t, x0, key=noise_key)
        x0_hat = call_denoiser(denoiser, t, x_t, dropout_key)
        check_shape("the denoiser's output", x0.shape, x0_hat.shape)
        return self.penalty(process, t, x0_hat - x0)

    def __add__(self, other: "AbstractResidualLoss") -> "SumOfLosses":
        if not isinstance(other, AbstractResidualLoss):
            return NotImplemented
        return SumOfLosses((self, other), (1.0, 1.0))

    def __rmul__(self, factor: float) -> "SumOfLosses":
        return SumOfLosses((self,), (factor,))


class SumOfLosses(AbstractResidualLoss):
    """`factors[0] * losses[0] + factors[1] * losses[1] + ...`, of one evaluation."""

    losses: tuple[AbstractResidualLoss, ...]
    factors: tuple[float, ...]

    def penalty(self, process: Process, t: ScalarLike, residual: Sample) -> Scalar:
        total = jnp.zeros((), residual.dtype)
        for factor, loss in zip(self.factors, self.losses, strict=True):
            total = total + factor * loss.penalty(process, t, residual)
        return total

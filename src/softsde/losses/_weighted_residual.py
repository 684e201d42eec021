r"""The general loss: $w(t) \lVert B_t (\hat x_0(x_t) - x_0) \rVert^2$.

The operator $B_t$ decides what of the posterior mean the loss can see: it identifies
$B_t E[x_0|x_t]$ and leaves the null space of $B_t$ free. Every named loss on a denoiser
is this one with another operator, so there is one code path and one test of it.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp

from .._checks import check_shape
from .._types import DenoiserFn, Key, Sample, Scalar, ScalarLike
from ..parametrisations._denoiser import call_denoiser
from ..processes import Process
from ._weights import Weight, weight_function

Operator = (
    Literal["corruption", "identity"] | Callable[[Process, ScalarLike, Sample], Sample]
)


def _corruption(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    return process.apply(t, residual)


def _identity(process: Process, t: ScalarLike, residual: Sample) -> Sample:
    del process, t
    return residual


_OPERATORS = {"corruption": _corruption, "identity": _identity}


class WeightedResidual(eqx.Module):
    r"""$w(t)\, \frac1d \lVert B_t (\hat x_0(x_t, t) - x_0) \rVert^2$, for one sample.

    The mean over the $d$ components, not the sum, so that one learning rate and one
    clipping norm serve every resolution.

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
        weight = weight_function(self.weight, process)
        operator = (
            self.operator if callable(self.operator) else _OPERATORS[self.operator]
        )
        noise_key, dropout_key = jax.random.split(key)
        t = jnp.asarray(t, x0.dtype)
        x_t, _ = process.perturb(t, x0, key=noise_key)
        x0_hat = call_denoiser(denoiser, t, x_t, dropout_key)
        check_shape("the denoiser's output", x0.shape, x0_hat.shape)
        residual = operator(process, t, x0_hat - x0)
        return weight(t) * jnp.mean(residual**2)

"""The batch around a loss: times drawn, keys split, samples mapped, one mean."""

from collections.abc import Callable
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import check_samples
from .._types import DenoiserFn, Key, Samples, Scalar
from ..processes import Process
from ._importance import ImportanceTimes

TimeSampler = Literal["uniform", "low_discrepancy"]


def draw_times(
    process: Process, number: int, *, key: Key, sampler: TimeSampler = "uniform"
) -> Float[Array, " number"]:
    """Draws training times in `[t0, t1)`.

    **Arguments:**

    - `process`: whose times they are.
    - `number`: how many.
    - `key`: of the draw.
    - `sampler`: `"uniform"`, independent; or `"low_discrepancy"`, evenly spaced with
        one common shift: each time is uniform, and their mean varies far less.

    **Raises:** `ValueError` for another sampler.
    """
    if sampler == "uniform":
        share = jax.random.uniform(key, (number,))
    elif sampler == "low_discrepancy":
        shift = jax.random.uniform(key)
        share = (shift + jnp.arange(number) / number) % 1.0
    else:
        raise ValueError(
            f"Unknown time sampler {sampler!r}; expected 'uniform' or "
            "'low_discrepancy'."
        )
    return process.t0 + (process.t1 - process.t0) * share


class BatchLosses(NamedTuple):
    """The losses of a batch, each with its time."""

    #: What each sample lost.
    losses: Float[Array, " batch"]
    #: When.
    times: Float[Array, " batch"]
    #: What each counts in a mean over uniform times: 1, unless times are drawn
    #: otherwise.
    weights: Float[Array, " batch"]

    @property
    def mean(self) -> Scalar:
        """The estimate of the mean over samples and uniform times."""
        return jnp.mean(self.weights * self.losses)


def batch_losses(
    loss: Callable[..., Scalar],
    denoiser: DenoiserFn,
    process: Process,
    x0: Samples,
    *,
    key: Key,
    times: TimeSampler | ImportanceTimes = "uniform",
) -> BatchLosses:
    """The losses of a batch one by one, each sample at its own time.

    **Arguments:** as [`softsde.losses.batch_loss`][], which is the `mean` of this.

    **Returns:** a [`softsde.losses.BatchLosses`][].

    **Raises:** `TypeError` for samples that are not floating-point.
    """
    check_samples("batch_losses", x0)
    time_key, sample_key = jax.random.split(key)
    number = x0.shape[0]
    if isinstance(times, ImportanceTimes):
        t, weights = times.draw(process, number, key=time_key)
    else:
        t = draw_times(process, number, key=time_key, sampler=times)
        weights = jnp.ones_like(t)
    t = t.astype(x0.dtype)
    keys = jax.random.split(sample_key, number)
    values = jax.vmap(lambda x, t, k: loss(denoiser, process, x, t, key=k))(x0, t, keys)
    return BatchLosses(values, t, weights.astype(values.dtype))


def batch_loss(
    loss: Callable[..., Scalar],
    denoiser: DenoiserFn,
    process: Process,
    x0: Samples,
    *,
    key: Key,
    times: TimeSampler | ImportanceTimes = "uniform",
) -> Scalar:
    """The mean of `loss` over a batch, each sample at its own time.

    **Arguments:**

    - `loss`: `loss(denoiser, process, x0, t, *, key) -> scalar`, for one sample.
    - `denoiser`, `process`: as there.
    - `x0`: clean samples stacked in front.
    - `key`: of times, noise and dropout.
    - `times`: the time sampler: `"uniform"` or `"low_discrepancy"`, see
        [`softsde.losses.draw_times`][], or a [`softsde.losses.ImportanceTimes`][].

    **Returns:** a scalar.

    **Raises:** `TypeError` for samples that are not floating-point.
    """
    each = batch_losses(loss, denoiser, process, x0, key=key, times=times)
    return each.mean

"""The batch around a loss: times drawn, keys split, samples mapped, one mean."""

from collections.abc import Callable
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import check_samples
from .._types import DenoiserFn, Key, Samples, Scalar
from ..processes import Process

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


def batch_loss(
    loss: Callable[..., Scalar],
    denoiser: DenoiserFn,
    process: Process,
    x0: Samples,
    *,
    key: Key,
    times: TimeSampler = "uniform",
) -> Scalar:
    """The mean of `loss` over a batch, each sample at its own time.

    **Arguments:**

    - `loss`: `loss(denoiser, process, x0, t, *, key) -> scalar`, for one sample.
    - `denoiser`, `process`: as there.
    - `x0`: clean samples stacked in front.
    - `key`: of times, noise and dropout.
    - `times`: the time sampler, see [`softsde.losses.draw_times`][].

    **Returns:** a scalar.

    **Raises:** `TypeError` for samples that are not floating-point.
    """
    check_samples("batch_loss", x0)
    time_key, sample_key = jax.random.split(key)
    number = x0.shape[0]
    t = draw_times(process, number, key=time_key, sampler=times).astype(x0.dtype)
    keys = jax.random.split(sample_key, number)
    values = jax.vmap(lambda x, t, k: loss(denoiser, process, x, t, key=k))(x0, t, keys)
    return jnp.mean(values)

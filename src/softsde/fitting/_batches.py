"""Corrupted data, a batch at a time."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Sample, Samples, ScalarLike
from ..corruptions import AbstractCorruption
from ..processes import Process

#: What has operators with one parameter: `operators.apply(level, x)` is $C(level) x$. A
#: process is such a family too, with the time for its parameter.
Operators = AbstractCorruption | Process

_BATCH = 64


@eqx.filter_jit
def corrupt_batch(operators: Operators, level: ScalarLike, data: Samples) -> Samples:
    r"""$C(\theta)\, x$ for each sample $x$ of a batch.

    **Arguments:**

    - `operators`: a corruption, or a process.
    - `level`: $\theta$; the time, for a process.
    - `data`: samples stacked in front.
    """
    return jax.vmap(lambda x: operators.apply(level, x))(data)


def batches(
    data: Float[Array | np.ndarray, "number *shape"], size: int = _BATCH
) -> Iterator[Float[Array, "batch *shape"]]:
    """The data on the device, `size` samples at a time."""
    for start in range(0, len(data), size):
        yield jnp.asarray(data[start : start + size])


def sample_dtype(data: Float[Array | np.ndarray, "number *shape"]):
    """The dtype that the data has on the device."""
    return jnp.asarray(data[:1]).dtype


def corrupted_rows(
    operators: Operators, level: ScalarLike, data: Samples
) -> Float[np.ndarray, "number size"]:
    """A corrupted batch as rows in double precision."""
    out = np.asarray(corrupt_batch(operators, level, data), np.float64)
    return out.reshape(len(out), -1)


def mean_sample(data: Float[Array | np.ndarray, "number *shape"]) -> Sample:
    """The mean of the data, summed in double precision."""
    mean = np.asarray(data).mean(axis=0, dtype=np.float64)
    return jnp.asarray(mean, sample_dtype(data))

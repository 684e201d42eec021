"""Helpers of `Linear`, `Cosine` and `Sigmoid`, which go from one value to another."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import concrete
from .._types import Scalar, ScalarLike


def between(start: Any, end: Any, share: Scalar) -> Scalar:
    """`start` at the share 0 and `end` at the share 1, both exactly."""
    start, end = jnp.asarray(start, share.dtype), jnp.asarray(end, share.dtype)
    return start * (1 - share) + end * share


def share_of(start: Any, end: Any, value: ScalarLike) -> Scalar:
    """The share at which `between` takes `value`."""
    value = jnp.asarray(value)
    start, end = jnp.asarray(start, value.dtype), jnp.asarray(end, value.dtype)
    return (value - start) / (end - start)


def check_ends(owner: str, start: Any, end: Any) -> None:
    start, end = concrete(start), concrete(end)
    if start is None or end is None:
        return
    if not (np.isfinite(start) and np.isfinite(end) and start != end):
        raise ValueError(
            f"`{owner}` needs finite `start` and `end` that differ, got {start} and "
            f"{end}. For a value that does not change use `Constant`."
        )

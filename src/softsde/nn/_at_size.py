"""Options of networks at size: the dtype inside, and blocks that are computed again."""

from collections.abc import Callable
from typing import TypeVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

F = TypeVar("F", bound=Callable)


def compute_in(dtype: str | None, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`x` in the dtype in which a network computes, its own if `None`."""
    return x if dtype is None else x.astype(jnp.dtype(dtype))


def at_least_float32(dtype: np.dtype) -> np.dtype:
    """The dtype in which sums over many numbers are taken."""
    return dtype if jnp.finfo(dtype).bits >= 32 else np.dtype(np.float32)


def check_dtype(owner: str, dtype: str | None) -> None:
    """Refuses a name that is no dtype of floating-point numbers.

    **Raises:** `ValueError`, with the names that are known.
    """
    known = ("bfloat16", "float16", "float32", "float64")
    if dtype is not None and dtype not in known:
        raise ValueError(
            f"`{owner}` got `compute_dtype={dtype!r}`; expected `None` or one of "
            f"{', '.join(known)}."
        )


def block(function: F, remat: bool) -> F:
    """The block, with its inside forgotten after the forward pass if `remat`."""
    # Equinox gives it back as another type, which is called alike.
    return eqx.filter_checkpoint(function) if remat else function  # pyright: ignore[reportReturnType]

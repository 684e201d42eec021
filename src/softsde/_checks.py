"""Checks on values that may be traced: concrete ones are checked, tracers pass.

Mistakes in configuration are made before anything is compiled, where every number is
concrete; a schedule whose parameters are being trained is traced, and its values are
its owner's business.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def concrete(value: Any) -> np.ndarray | None:
    """`value` as a NumPy array, or `None` when it is a tracer."""
    if isinstance(value, Tracer):
        return None
    return np.asarray(value)


def check_positive(owner: str, name: str, value: Any) -> None:
    known = concrete(value)
    if known is not None and not np.all(np.isfinite(known) & (known > 0)):
        raise ValueError(
            f"`{owner}` needs `{name}` > 0 and finite, got {known.tolist()}."
        )


def check_non_negative(owner: str, name: str, value: Any) -> None:
    known = concrete(value)
    if known is not None and not np.all(np.isfinite(known) & (known >= 0)):
        raise ValueError(
            f"`{owner}` needs `{name}` >= 0 and finite, got {known.tolist()}."
        )


def check_samples(owner: str, samples: Any) -> None:
    """Refuses samples that are not floating-point, such as the bytes of an image."""
    dtype = samples.dtype
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"`{owner}` needs floating-point samples, got {dtype}. For images of "
            "bytes: `images.astype('float32') / 255`."
        )


def check_shape(owner: str, expected: tuple[int, ...], got: tuple[int, ...]) -> None:
    if tuple(expected) != tuple(got):
        hint = ""
        if len(got) == len(expected) + 1 and tuple(got[1:]) == tuple(expected):
            hint = " It has one axis in front: map over it with `jax.vmap`."
        raise ValueError(
            f"`{owner}` was made for samples of shape {tuple(expected)}, got "
            f"{tuple(got)}.{hint}"
        )

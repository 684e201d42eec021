"""Functions as fields of a module."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax


def as_pytree(fn: Any) -> Callable[..., Any]:
    """`fn` as a PyTree of arrays, so that a module that holds it can be mapped.

    A module stays as it is, with its parameters. A plain function is wrapped in
    `jax.tree_util.Partial`, which has no leaves.
    """
    if isinstance(fn, eqx.Module | jax.tree_util.Partial):
        # Not every module can be called: whoever calls this one says so.
        return fn  # pyright: ignore[reportReturnType]
    return jax.tree_util.Partial(fn)

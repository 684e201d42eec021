"""Chooses the dtype that training computes in, and returns results to their own."""

from typing import Any, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp

T = TypeVar("T")

# Dtypes of one family differ in precision only, so a cast loses no meaning.
_FAMILIES = (
    jnp.floating,
    jnp.complexfloating,
    jnp.signedinteger,
    jnp.unsignedinteger,
)


def widen(tree: T) -> T:
    """`tree` with its floating-point arrays of less than 32 bits in float32.

    A running average in bfloat16 never moves: its decay of 0.999 is rounded to 1. This
    holds for the average of the weights and for the moments of an optimiser alike.
    """

    def cast(x):
        if not (eqx.is_array(x) and jnp.issubdtype(x.dtype, jnp.floating)):
            return x
        return x.astype(jnp.float32) if jnp.finfo(x.dtype).bits < 32 else x

    return jax.tree.map(cast, tree)


def cast_like(new: T, old: T) -> T:
    """`new` with the dtypes of `old`, where the two differ in precision only.

    The result is strongly typed, so that the next step is not traced again.
    """
    if jax.tree.structure(new) != jax.tree.structure(old):
        return new  # The caller says what is wrong.

    def cast(x: Any, like: Any) -> Any:
        if not (eqx.is_array(x) and eqx.is_array(like)):
            return x
        return x.astype(like.dtype) if _same_family(x.dtype, like.dtype) else x

    return jax.tree.map(cast, new, old)


def _same_family(a: Any, b: Any) -> bool:
    return any(
        jnp.issubdtype(a, family) and jnp.issubdtype(b, family) for family in _FAMILIES
    )


def add_updates(model: T, updates: Any) -> T:
    """`model + updates`, each array summed in the wider dtype and rounded once.

    Where `updates` is `None` the leaf of `model` is kept.
    """

    def add(update, parameter):
        if update is None:
            return parameter
        with jax.numpy_dtype_promotion("standard"):
            total = widen(parameter) + update
        return total.astype(parameter.dtype)

    return jax.tree.map(add, updates, model, is_leaf=lambda x: x is None)

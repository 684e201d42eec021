"""Attention of several heads, without its projections."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._at_size import at_least_float32


def attention(
    query: Float[Array, "patches heads size"],
    key: Float[Array, "patches heads size"],
    value: Float[Array, "patches heads size"],
) -> Float[Array, "patches heads size"]:
    r"""$\operatorname{softmax}(Q K^\top / \sqrt d)\, V$ of each head, of size $d$.

    The softmax is taken in at least float32.
    """
    if query.dtype == jnp.float32:
        return jax.nn.dot_product_attention(query, key, value)
    # In float64 that takes the softmax in float32, and in half precision its gradient
    # mixes dtypes, which users may forbid (`jax_numpy_dtype_promotion="strict"`).
    wide = at_least_float32(query.dtype)
    logits = jnp.einsum("qhd,khd->hqk", query.astype(wide), key.astype(wide))
    weights = jax.nn.softmax(logits / query.shape[-1] ** 0.5, axis=-1)
    return jnp.einsum("hqk,khd->qhd", weights.astype(value.dtype), value)

"""The self-attention of the UNet."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._at_size import at_least_float32
from ._group_norm import GroupNorm
from ._initial_weights import split
from ._linear import Linear


class SelfAttention(eqx.Module):
    """Residual multi-head self-attention over the pixels of a feature map.

    `(x + softmax(Q K^T / sqrt(d)) V W) / sqrt(2)`, where `Q, K, V` are linear in the
    normalised `x` (Vaswani et al., 2017), and `W` starts at zero.
    """

    norm: GroupNorm
    qkv: Linear
    out: Linear
    num_heads: int = eqx.field(static=True)

    def __init__(
        self, channels: int, num_heads: int, *, group_size: int = 8, key: PRNGKeyArray
    ):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `num_heads`: divides `channels`.
        - `group_size`: see [`softsde.nn.GroupNorm`][].
        - `key`: for the initial weights.
        """
        if channels % num_heads:
            raise ValueError(
                f"`num_heads` must divide the number of channels; got "
                f"num_heads={num_heads} for {channels} channels."
            )
        keys = split(key)
        self.norm = GroupNorm(channels, group_size)
        self.qkv = Linear(channels, 3 * channels, key=next(keys))
        self.out = Linear(channels, channels, zero=True, key=next(keys))
        self.num_heads = num_heads

    def __call__(
        self, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        height, width, channels = x.shape
        qkv = self.qkv(self.norm(x))
        qkv = qkv.reshape(height * width, 3, self.num_heads, -1)
        query, key, value = qkv[:, 0], qkv[:, 1], qkv[:, 2]
        head_size = channels // self.num_heads
        logits = jnp.einsum("qhd,khd->hqk", query, key)
        logits = logits.astype(at_least_float32(x.dtype))
        weights = jax.nn.softmax(logits / head_size**0.5, axis=-1).astype(x.dtype)
        y = jnp.einsum("hqk,khd->qhd", weights, value)
        return (x + self.out(y.reshape(x.shape))) / 2**0.5

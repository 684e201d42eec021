"""The block of the UNet: two convolutions that read the time."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ._conv import Conv
from ._film import FiLM
from ._group_norm import GroupNorm
from ._initial_weights import split
from ._linear import Linear


class ResidualBlock(eqx.Module):
    """Two convolutions around which the signal can pass unchanged.

    `h = conv(silu(norm(x)))`, `h = conv(dropout(silu(norm(h) * (1 + a) + b)))`,
    `y = (x + h) / sqrt(2)`, where `a` and `b` are linear in the embedding of time
    and condition and the second convolution starts at zero.
    """

    norm1: GroupNorm
    conv1: Conv
    film: FiLM
    norm2: GroupNorm
    dropout: eqx.nn.Dropout
    conv2: Conv
    shortcut: Linear | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_size: int,
        *,
        dropout: float = 0.0,
        group_size: int = 8,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: length of the last axis before and after.
        - `embedding_size`: length of the embedding of time and condition.
        - `dropout`: probability with which a feature is dropped.
        - `group_size`: see [`softsde.nn.GroupNorm`][].
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.norm1 = GroupNorm(in_channels, group_size)
        self.conv1 = Conv(in_channels, out_channels, key=next(keys))
        self.film = FiLM(embedding_size, out_channels, key=next(keys))
        # The embedding's scale and shift take the place of learnt ones.
        self.norm2 = GroupNorm(out_channels, group_size, affine=False)
        self.dropout = eqx.nn.Dropout(dropout)
        self.conv2 = Conv(out_channels, out_channels, zero=True, key=next(keys))
        self.shortcut = (
            None
            if in_channels == out_channels
            else Linear(in_channels, out_channels, key=next(keys))
        )

    def __call__(
        self,
        embedding: Float[Array, " embedding_size"],
        x: Float[Array, "height width in_channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width out_channels"]:
        scale, shift = self.film(embedding)
        h = self.conv1(jax.nn.silu(self.norm1(x)))
        h = jax.nn.silu(self.norm2(h, scale, shift))
        h = self.conv2(self.dropout(h, key=key, inference=key is None))
        skip = x if self.shortcut is None else self.shortcut(x)
        return (skip + h) / 2**0.5

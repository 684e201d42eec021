"""The block of EDM2's network: what it adds keeps the magnitude."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._attention import attention
from ._initial_weights import split
from ._magnitude import MPConv, mp_silu, mp_sum, unit_magnitude
from ._published import KERNEL, POINTWISE, SCALAR, TRANSPOSED, Place, places
from ._resample import mean_downsample, repeat_upsample

Kind = Literal["encoder", "decoder"]
Resample = Literal["down", "up"] | None


class EDM2Block(eqx.Module):
    r"""Two convolutions and self-attention, added so that magnitudes are kept.

    $$h = \operatorname{conv}(a(m \cdot \operatorname{conv}(a(x)))), \qquad
    m = 1 + \operatorname{linear}(e),$$

    with the activation $a$ = [`softsde.nn.mp_silu`][] and the embedding $e$. $h$ and
    the attention of the result are added by [`softsde.nn.mp_sum`][], with weight 0.3.
    A block of the encoder first scales the vector of each pixel to magnitude one.

    ??? cite "Reference"

        Karras, Aittala, Lehtinen, Hellsten, Aila and Laine, *Analyzing and Improving
        the Training Dynamics of Diffusion Models*, CVPR 2024 (Figure 21).
    """

    gain: Float[Array, ""]
    conv1: MPConv
    embedding: MPConv
    conv2: MPConv
    shortcut: MPConv | None
    qkv: MPConv | None
    out: MPConv | None
    dropout: eqx.nn.Dropout
    kind: Kind = eqx.field(static=True)
    resample: Resample = eqx.field(static=True)
    num_heads: int = eqx.field(static=True)
    balance: float = eqx.field(static=True)
    clip: float = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_size: int,
        *,
        kind: Kind,
        resample: Resample = None,
        num_heads: int = 0,
        dropout: float = 0.0,
        balance: float = 0.3,
        clip: float = 256.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: lengths of the last axis before and after.
        - `embedding_size`: length of the embedding.
        - `kind`: `"encoder"` or `"decoder"`.
        - `resample`: `"down"` halves the image, `"up"` doubles it, `None` keeps it.
        - `num_heads`: of the attention; 0 for none.
        - `dropout`: probability with which a feature is dropped between the
            convolutions, where the call is given a key.
        - `balance`: weight of what is added, 0 to 1.
        - `clip`: bound of the features at the end.
        - `key`: for the initial weights.
        """
        keys = split(key)
        first = out_channels if kind == "encoder" else in_channels
        self.gain = jnp.asarray(np.float32(0.0))
        self.conv1 = MPConv(first, out_channels, 3, key=next(keys))
        self.embedding = MPConv(embedding_size, out_channels, key=next(keys))
        self.conv2 = MPConv(out_channels, out_channels, 3, key=next(keys))
        self.shortcut = self.qkv = self.out = None
        if in_channels != out_channels:
            self.shortcut = MPConv(in_channels, out_channels, key=next(keys))
        if num_heads:
            self.qkv = MPConv(out_channels, 3 * out_channels, key=next(keys))
            self.out = MPConv(out_channels, out_channels, key=next(keys))
        self.dropout = eqx.nn.Dropout(dropout)
        self.kind = kind
        self.resample = resample
        self.num_heads = num_heads
        self.balance = balance
        self.clip = clip

    def __call__(
        self,
        embedding: Float[Array, " embedding_size"],
        x: Float[Array, "height width in_channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_height out_width out_channels"]:
        """**Arguments:**

        - `embedding`: of time and condition.
        - `x`: a feature map.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** a feature map of the dtype of `x`.
        """
        if self.resample == "down":
            x = mean_downsample(x)
        if self.resample == "up":
            x = repeat_upsample(x)
        if self.kind == "encoder":
            x = unit_magnitude(self._short(x), -1)
        modulation = 1 + self.embedding(embedding, self.gain)
        h = mp_silu(self.conv1(mp_silu(x)) * modulation[None, None])
        h = self.conv2(self.dropout(h, key=key, inference=key is None))
        if self.kind == "decoder":
            x = self._short(x)
        x = mp_sum(x, h, self.balance)
        if self.qkv is not None and self.out is not None:
            x = mp_sum(x, self.out(self._attention(self.qkv(x))), self.balance)
        return jnp.clip(x, -self.clip, self.clip)

    def _short(self, x: Array) -> Array:
        return x if self.shortcut is None else self.shortcut(x)

    def _attention(self, qkv: Array) -> Array:
        """Attention of queries, keys and values of magnitude one."""
        height, width, channels = qkv.shape
        # Of each channel of a head in turn: query, key and value.
        parts = qkv.reshape(height * width, self.num_heads, -1, 3)
        y = attention(*jnp.moveaxis(unit_magnitude(parts, 2), 3, 0))
        return y.reshape(height, width, channels // 3)

    def state_names(self) -> dict[str, Place]:
        """The names of the original's block, with their places."""
        names = places(
            ("emb_gain", "gain", SCALAR),
            ("conv_res0.weight", "conv1.weight", KERNEL),
            ("emb_linear.weight", "embedding.weight", TRANSPOSED),
            ("conv_res1.weight", "conv2.weight", KERNEL),
        )
        if self.shortcut is not None:
            names |= places(("conv_skip.weight", "shortcut.weight", POINTWISE))
        if self.qkv is not None:
            names |= places(
                ("attn_qkv.weight", "qkv.weight", POINTWISE),
                ("attn_proj.weight", "out.weight", POINTWISE),
            )
        return names

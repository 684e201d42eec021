"""The layers that every network here is made of, channels-last.

Equinox's own convolution and group norm are channels-first; these work on
`(height, width, channels)`, which is the layout of the whole library and the faster
one on CPU and TPU: the batch axis that `vmap` adds stays in front, so nothing is
transposed. A layer computes in the dtype of its input: its parameters are cast to
it, so a float32 network on bfloat16 images is mixed-precision training.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._correlate import correlate
from ._initial_weights import (
    fan_average_weight,
    fan_in_uniform,
    full,
    initial_weight,
    split,
)


def image_shape(owner: str, shape: Sequence[int]) -> tuple[int, int, int]:
    """`shape` as a tuple of three numbers; JSON, for one, has it as a list."""
    if len(shape) != 3:
        raise ValueError(
            f"`{owner}` got `shape={tuple(shape)}`; expected `(height, width, "
            "channels)`, such as `(28, 28, 1)`."
        )
    height, width, channels = (int(number) for number in shape)
    return height, width, channels


def check_image(owner: str, x: Array, shape: tuple[int, int, int]) -> None:
    """Refuses an image of another shape than the network was made for.

    **Raises:** `ValueError`.
    """
    if x.shape != shape:
        raise ValueError(
            f"this {owner} was made for images of shape {shape}; got {x.shape}. The "
            "call is unbatched: use `jax.vmap` for a batch."
        )


def at_least_float32(dtype: np.dtype) -> np.dtype:
    """The dtype in which sums over many numbers are taken."""
    return dtype if jnp.finfo(dtype).bits >= 32 else np.dtype(np.float32)


class Linear(eqx.Module):
    """An affine map of the last axis, `y = x W + b`.

    On an image this is the 1x1 convolution, done as the matrix product that it is
    (twice as fast on CPU).
    """

    weight: Float[Array, "in_size out_size"]
    bias: Float[Array, " out_size"]

    def __init__(
        self,
        in_size: int,
        out_size: int,
        *,
        zero: bool = False,
        fan_average: float | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_size`, `out_size`: lengths of the last axis before and after.
        - `zero`: start with zero weights.
        - `fan_average`: start as DDPM does, with uniform weights of the variance
            `fan_average / ((in_size + out_size) / 2)`. 0 stands for 1e-10.
        - `key`: for the initial weights.
        """
        shape = (in_size, out_size)
        self.weight = (
            initial_weight(key, shape, fan_in=in_size, zero=zero)
            if fan_average is None
            else fan_average_weight(key, shape, fan_average)
        )
        self.bias = full(0.0, out_size)

    def __call__(self, x: Float[Array, "*axes in_size"]) -> Float[Array, "*axes out"]:
        y = x @ self.weight.astype(x.dtype)
        return y + jnp.broadcast_to(self.bias.astype(x.dtype), y.shape)


class Conv(eqx.Module):
    """A two-dimensional cross-correlation, channels-last, padded with zeros.

    `y[i, j] = sum_{a, b} x[s i + d (a - k // 2), s j + d (b - k // 2)] W[a, b] + bias`
    for an odd kernel size `k`, a stride `s` and a dilation `d`.
    """

    weight: Float[Array, "kernel kernel in_channels out_channels"]
    bias: Float[Array, " out_channels"] | None
    stride: int = eqx.field(static=True)
    dilation: int = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        kernel_size: int = 3,
        stride: int = 1,
        dilation: int = 1,
        use_bias: bool = True,
        zero: bool = False,
        fan_average: float | None = None,
        uniform: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: lengths of the last axis before and after.
        - `kernel_size`: odd, so that every output pixel has a centre.
        - `stride`: the output has `ceil(height / stride)` rows.
        - `dilation`: distance in pixels between neighbouring entries of the kernel.
        - `use_bias`: whether a learnt bias is added.
        - `zero`: start with zero weights.
        - `fan_average`: start as DDPM does, with uniform weights of the variance
            `fan_average / (kernel_size**2 * (in_channels + out_channels) / 2)`. 0
            stands for 1e-10.
        - `uniform`: draw weights and bias uniformly between plus and minus
            `1 / sqrt(fan_in)`, as torch does. By default the weights are normal with
            variance `1 / fan_in`, and the bias is zero.
        - `key`: for the initial weights.
        """
        if kernel_size % 2 == 0:
            raise ValueError(
                f"`kernel_size` must be odd, so that every output pixel has a centre; "
                f"got {kernel_size}. Use {kernel_size + 1}."
            )
        shape = (kernel_size, kernel_size, in_channels, out_channels)
        fan_in = kernel_size**2 * in_channels
        if uniform:
            keys = split(key)
            self.weight = fan_in_uniform(next(keys), shape, fan_in)
            bias = fan_in_uniform(next(keys), (out_channels,), fan_in)
        else:
            self.weight = (
                initial_weight(key, shape, fan_in=fan_in, zero=zero)
                if fan_average is None
                else fan_average_weight(key, shape, fan_average)
            )
            bias = full(0.0, out_channels)
        self.bias = bias if use_bias else None
        self.stride = stride
        self.dilation = dilation

    def __call__(
        self, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "out_height out_width out_channels"]:
        half = self.dilation * (self.weight.shape[0] // 2)
        y = correlate(
            x, self.weight, stride=self.stride, padding=half, dilation=self.dilation
        )
        return self.add_bias(y)

    def add_bias(
        self, y: Float[Array, "height width out_channels"]
    ) -> Float[Array, "height width out_channels"]:
        """Adds the bias, if there is one, to a convolution that was computed."""
        if self.bias is None:
            return y
        return y + jnp.broadcast_to(self.bias.astype(y.dtype), y.shape)


class GroupNorm(eqx.Module):
    """Group normalisation, `y = (x - mean) / sqrt(var + eps) * scale + shift`.

    Mean and variance are taken over all pixels and over the channels of one group
    (Wu & He, 2018), in at least float32. `scale` and `shift` are parameters, or,
    where the caller gives them, functions of time.
    """

    weight: Float[Array, " channels"] | None
    bias: Float[Array, " channels"] | None
    groups: int = eqx.field(static=True)
    eps: float = eqx.field(static=True)

    def __init__(
        self,
        channels: int,
        group_size: int = 8,
        *,
        affine: bool = True,
        eps: float = 1e-5,
    ):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `group_size`: channels that share a mean and a variance; divides `channels`.
        - `affine`: whether there is a learnt scale and shift.
        - `eps`: added to the variance.
        """
        if channels % group_size:
            raise ValueError(
                f"`group_size` must divide the number of channels; got "
                f"group_size={group_size} for {channels} channels. Choose a divisor "
                f"of {channels}."
            )
        self.weight = full(1.0, channels) if affine else None
        self.bias = full(0.0, channels) if affine else None
        self.groups = channels // group_size
        self.eps = eps

    def __call__(
        self,
        x: Float[Array, "height width channels"],
        scale: Float[Array, " channels"] | None = None,
        shift: Float[Array, " channels"] | None = None,
    ) -> Float[Array, "height width channels"]:
        channels = x.shape[-1]
        dtype = at_least_float32(x.dtype)

        def group_mean(v: Array) -> Array:
            # Over the pixels first: that reduction runs along whole rows of channels
            # (a vector loop), and the one within the groups is then tiny.
            per_channel = jnp.mean(v, axis=(0, 1)).reshape(self.groups, -1)
            per_group = jnp.mean(per_channel, axis=1, keepdims=True)
            return jnp.broadcast_to(per_group, per_channel.shape).reshape(channels)

        # Two passes: E[x^2] - E[x]^2 would cancel where the mean is large.
        centred = x.astype(dtype)
        centred = centred - group_mean(centred)[None, None]
        scaling = jax.lax.rsqrt(group_mean(centred**2) + self.eps)
        scale = self.weight if scale is None else scale
        shift = self.bias if shift is None else shift
        if scale is not None:
            scaling = scaling * scale.astype(dtype)
        y = centred * scaling[None, None]
        if shift is not None:
            y = y + shift.astype(dtype)[None, None]
        return y.astype(x.dtype)


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


class TimeEmbedding(eqx.Module):
    """A vector of features of the time, for every block to read.

    Sines and cosines of `t` at frequencies spaced geometrically from 1 to
    `max_frequency` (radians per unit of time), then two linear maps with SiLU. The
    default resolves differences of about a hundredth of the unit interval, in which
    a noise schedule may grow tenfold over a fifth of it; much higher frequencies
    would only make the network rough in `t`.

    The embedding of a condition is added before the last SiLU, so that the blocks read
    time and condition in one vector.
    """

    first: Linear
    second: Linear
    num_features: int = eqx.field(static=True)
    max_frequency: float = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        num_features: int = 64,
        max_frequency: float = 256.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: length of the embedding.
        - `num_features`: how many sines and cosines in all; even.
        - `max_frequency`: the highest, in radians per unit of time.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.first = Linear(num_features, size, key=next(keys))
        self.second = Linear(size, size, key=next(keys))
        self.num_features = num_features
        self.max_frequency = max_frequency

    def __call__(
        self,
        t: Float[Array, ""],
        condition: Float[Array, " size"] | None = None,
    ) -> Float[Array, " size"]:
        """**Arguments:**

        - `t`: the time, in [0, 1].
        - `condition`: the embedding of a condition, or `None`.

        **Returns:** the embedding, of the dtype of `t`.
        """
        frequencies = jnp.geomspace(
            1.0, self.max_frequency, self.num_features // 2, dtype=t.dtype
        )
        angles = t * frequencies
        # sqrt(2) gives the features unit mean square.
        waves = 2**0.5 * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        features = self.second(jax.nn.silu(self.first(waves)))
        if condition is not None:
            features = features + condition.astype(features.dtype)
        return jax.nn.silu(features)

"""Layers of image networks at inference: one image, channels last, PyTorch's names."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._weights import Weights

#: Rows and columns, or one number for both.
Pair = int | tuple[int, int]


def pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def vector(weights: Weights, name: str, length: int) -> Float[Array, " length"]:
    """The array called `name`, on the device."""
    return jnp.asarray(weights.take(name, length))


class Conv(eqx.Module):
    """A convolution, `y[i, j] = sum_{u, v} x[s i + u - p, s j + v - p] K[u, v] + b`."""

    kernel: Float[Array, "rows columns inputs outputs"]
    bias: Float[Array, " outputs"] | None
    stride: int = eqx.field(static=True)
    padding: tuple[int, int] | None = eqx.field(static=True)
    groups: int = eqx.field(static=True)

    def __init__(
        self,
        weights: Weights,
        name: str,
        inputs: int,
        outputs: int,
        size: Pair,
        *,
        stride: int = 1,
        padding: Pair | None = 0,
        groups: int = 1,
        bias: bool = False,
    ):
        """**Arguments:**

        - `weights`, `name`: where `name.weight` and `name.bias` come from.
        - `inputs`, `outputs`: numbers of channels.
        - `size`: of the kernel.
        - `stride`: step between outputs.
        - `padding`: zeros on either side; `None` is TensorFlow's "SAME", which puts
            more of them at the end.
        - `groups`: into how many groups the channels are split.
        - `bias`: whether there is a bias.
        """
        rows, columns = pair(size)
        kernel = weights.take(
            f"{name}.weight", outputs, inputs // groups, rows, columns
        )
        self.kernel = jnp.asarray(kernel.transpose(2, 3, 1, 0))
        self.bias = vector(weights, f"{name}.bias", outputs) if bias else None
        self.stride = stride
        self.padding = None if padding is None else pair(padding)
        self.groups = groups

    def __call__(
        self, x: Float[Array, "height width inputs"]
    ) -> Float[Array, "rows columns outputs"]:
        padding = (
            "SAME" if self.padding is None else [(size, size) for size in self.padding]
        )
        y = jax.lax.conv_general_dilated(
            x[None],
            self.kernel,
            (self.stride, self.stride),
            padding,
            feature_group_count=self.groups,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )[0]
        return y if self.bias is None else y + self.bias[None, None]


class BatchNorm(eqx.Module):
    """Batch normalisation at inference: one scale and one shift for each channel.

    `y = (x - mean) / sqrt(variance + eps) * weight + bias`
    """

    scale: Float[Array, " channels"]
    shift: Float[Array, " channels"]

    def __init__(self, weights: Weights, name: str, channels: int, eps: float):
        """**Arguments:**

        - `weights`, `name`: where `name.weight`, `.bias`, `.running_mean` and
            `.running_var` come from.
        - `channels`: length of the last axis.
        - `eps`: added to the variance.
        """
        weight = weights.take(f"{name}.weight", channels)
        bias = weights.take(f"{name}.bias", channels)
        mean = weights.take(f"{name}.running_mean", channels)
        variance = weights.take(f"{name}.running_var", channels)
        scale = weight / (variance + eps) ** 0.5
        self.scale = jnp.asarray(scale)
        self.shift = jnp.asarray(bias - mean * scale)

    def __call__(
        self, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        return x * self.scale[None, None] + self.shift[None, None]


class Linear(eqx.Module):
    """`y = x W + b` along the last axis."""

    matrix: Float[Array, "inputs outputs"]
    bias: Float[Array, " outputs"] | None

    def __init__(
        self, weights: Weights, name: str, inputs: int, outputs: int, bias: bool = True
    ):
        """**Arguments:**

        - `weights`, `name`: where `name.weight` and `name.bias` come from.
        - `inputs`, `outputs`: length of the last axis before and after.
        - `bias`: whether there is a bias.
        """
        self.matrix = jnp.asarray(weights.take(f"{name}.weight", outputs, inputs).T)
        self.bias = vector(weights, f"{name}.bias", outputs) if bias else None

    def __call__(
        self, x: Float[Array, "*batch inputs"]
    ) -> Float[Array, "*batch outputs"]:
        y = x @ self.matrix
        if self.bias is None:
            return y
        return y + jnp.expand_dims(self.bias, tuple(range(y.ndim - 1)))


class LayerNorm(eqx.Module):
    """`y = (x - mean) / sqrt(variance + eps) * weight + bias` over the last axis."""

    weight: Float[Array, " channels"]
    bias: Float[Array, " channels"]
    eps: float = eqx.field(static=True)

    def __init__(self, weights: Weights, name: str, channels: int, eps: float):
        """**Arguments:**

        - `weights`, `name`: where `name.weight` and `name.bias` come from.
        - `channels`: length of the last axis.
        - `eps`: added to the variance.
        """
        self.weight = vector(weights, f"{name}.weight", channels)
        self.bias = vector(weights, f"{name}.bias", channels)
        self.eps = eps

    def __call__(
        self, x: Float[Array, "tokens channels"]
    ) -> Float[Array, "tokens channels"]:
        centred = x - jnp.mean(x, axis=-1, keepdims=True)
        variance = jnp.mean(centred**2, axis=-1, keepdims=True)
        y = centred / jnp.sqrt(variance + self.eps)
        return y * self.weight[None] + self.bias[None]


def max_pool(
    x: Float[Array, "height width channels"],
    size: int,
    stride: int,
    padding: int = 0,
) -> Float[Array, "rows columns channels"]:
    """The largest entry of each window; the padding never counts."""
    return jax.lax.reduce_window(
        x,
        -jnp.inf,
        jax.lax.max,
        (size, size, 1),
        (stride, stride, 1),
        [(padding, padding), (padding, padding), (0, 0)],
    )


def average_pool_3x3(
    x: Float[Array, "height width channels"],
) -> Float[Array, "height width channels"]:
    """Mean of the entries of each 3x3 window that lie inside the image.

    TensorFlow's averages do not count the padding. PyTorch's do, by default.
    """

    def total(x):
        return jax.lax.reduce_window(
            x, 0.0, jax.lax.add, (3, 3, 1), (1, 1, 1), [(1, 1), (1, 1), (0, 0)]
        )

    return total(x) / total(jnp.ones((*x.shape[:2], 1), x.dtype))

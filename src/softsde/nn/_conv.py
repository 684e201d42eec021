"""The convolution, channels-last.

Equinox's own is channels-first. This one works on `(height, width, channels)`, which is
the layout of the whole library and the faster one on CPU and TPU: the batch axis that
`vmap` adds stays in front, so nothing is transposed.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._correlate import correlate
from ._initial_weights import (
    fan_average_weight,
    fan_in_uniform,
    full,
    initial_weight,
    split,
)


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

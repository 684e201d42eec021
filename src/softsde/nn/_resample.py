"""Up- and down-sampling by two: by repeating and averaging, or with an FIR filter.

A filter against aliasing (StyleGAN2's) is applied along rows and columns in turn. Only
the samples that remain are computed: each phase of the output is a weighted sum of
shifted inputs.
"""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._conv import Conv
from ._correlate import correlate
from ._published import KERNEL, Place, weight_and_bias

FACTOR = 2


def fir_upsample(
    x: Float[Array, "height width channels"], fir: Sequence[float | int] = (1, 3, 3, 1)
) -> Float[Array, "tall wide channels"]:
    r"""Twice as many pixels a side, through a low-pass filter.

    Zeros are put between the pixels, and the result is convolved with
    $4\, f f^\top$, where $f$ is the filter divided by its sum (Karras et al., 2020, as
    Song et al., 2021, use it). A constant image stays constant, except at its border:
    beyond it all is zero.

    **Arguments:**

    - `x`: a feature map.
    - `fir`: the filter along each axis, of even length.

    **Returns:** a feature map of twice the height and width.
    """
    taps = _taps(fir, FACTOR)
    spare = len(taps) - FACTOR
    pad = ((spare + 1) // 2 + FACTOR - 1, spare // 2)
    for axis in (0, 1):
        x = _interpolate(x, taps, pad, axis)
    return x


def fir_downsample(
    x: Float[Array, "height width channels"], fir: Sequence[float | int] = (1, 3, 3, 1)
) -> Float[Array, "short narrow channels"]:
    r"""Half as many pixels a side, through a low-pass filter.

    The image is convolved with $f f^\top$, where $f$ is the filter divided by its sum,
    and every other pixel is kept.

    **Arguments:**

    - `x`: a feature map of even height and width.
    - `fir`: the filter along each axis, of even length.

    **Returns:** a feature map of half the height and width.
    """
    taps = _taps(fir, 1)
    spare = len(taps) - FACTOR
    pad = ((spare + 1) // 2, spare // 2)
    for axis in (0, 1):
        x = _filter(x, taps, pad, axis, stride=FACTOR)
    return x


def repeat_upsample(
    x: Float[Array, "height width channels"],
) -> Float[Array, "tall wide channels"]:
    """Repeats every pixel along both axes.

    **Arguments:**

    - `x`: a feature map.

    **Returns:** a feature map of twice the height and width.
    """
    return jnp.repeat(jnp.repeat(x, FACTOR, axis=0), FACTOR, axis=1)


def mean_downsample(
    x: Float[Array, "height width channels"],
) -> Float[Array, "short narrow channels"]:
    """Averages the pixels of every 2x2 square.

    **Arguments:**

    - `x`: a feature map of even height and width.

    **Returns:** a feature map of half the height and width.
    """
    height, width, channels = x.shape
    squares = (height // FACTOR, FACTOR, width // FACTOR, FACTOR, channels)
    return jnp.mean(x.reshape(squares), axis=(1, 3))


def check_fir(owner: str, fir: Sequence[float | int] | None) -> None:
    """Refuses a filter that moves the image by half a pixel, or has no mean."""
    if fir is not None and (len(fir) < 2 or len(fir) % 2 or sum(fir) == 0):
        raise ValueError(
            f"`{owner}` got `fir={tuple(fir)}`; expected an even number of weights "
            "that do not sum to zero, such as `(1, 3, 3, 1)`."
        )


class Upsample(eqx.Module):
    """Doubles height and width, and convolves if it was made with a convolution.

    Without a filter, pixels are repeated. With a filter, convolution and filter act on
    the image with zeros between its pixels, as if there were no border between them.
    """

    conv: Conv | None
    fir: tuple[float | int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        with_conv: bool,
        fir: Sequence[float | int] | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: lengths of the last axis before and after; by
            default they are equal.
        - `with_conv`: whether there is a 3x3 convolution. Without it the numbers of
            channels are equal.
        - `fir`: the filter along each axis; `None` repeats pixels.
        - `key`: for the initial weights.
        """
        check_fir("Upsample", fir)
        self.conv = _conv(in_channels, out_channels, 1, with_conv, key)
        self.fir = None if fir is None else tuple(fir)

    def __call__(
        self, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "tall wide out_channels"]:
        if self.fir is None:
            x = repeat_upsample(x)
            return x if self.conv is None else self.conv(x)
        if self.conv is None:
            return fir_upsample(x, self.fir)
        # The convolution of the image with zeros between, at every place where its
        # kernel meets a pixel; then the filter.
        kernel = self.conv.weight.shape[0]
        y = correlate(x, self.conv.weight, padding=kernel - 1, input_dilation=FACTOR)
        taps = _taps(self.fir, FACTOR)
        spare = len(taps) - FACTOR - (kernel - 1)
        pad = ((spare + 1) // 2 + FACTOR - 1, spare // 2 + 1)
        for axis in (0, 1):
            y = _filter(y, taps, pad, axis)
        return self.conv.add_bias(y)

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return _conv_names(self.conv, self.fir)


class Downsample(eqx.Module):
    """Halves height and width, and convolves if it was made with a convolution.

    Without a filter the convolution has stride 2, and reaches one pixel beyond the last
    row and column; without a convolution, squares are averaged. With a filter, the
    filter comes first and the convolution has stride 2.
    """

    conv: Conv | None
    fir: tuple[float | int, ...] | None = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int | None = None,
        *,
        with_conv: bool,
        fir: Sequence[float | int] | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: lengths of the last axis before and after; by
            default they are equal.
        - `with_conv`: whether there is a 3x3 convolution. Without it the numbers of
            channels are equal.
        - `fir`: the filter along each axis; `None` uses none.
        - `key`: for the initial weights.
        """
        check_fir("Downsample", fir)
        self.conv = _conv(in_channels, out_channels, FACTOR, with_conv, key)
        self.fir = None if fir is None else tuple(fir)

    def __call__(
        self, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "short narrow out_channels"]:
        if self.conv is None:
            return (
                mean_downsample(x) if self.fir is None else fir_downsample(x, self.fir)
            )
        if self.fir is None:
            x = jnp.pad(x, ((0, 1), (0, 1), (0, 0)))
        else:
            taps = _taps(self.fir, 1)
            spare = len(taps) - FACTOR + (self.conv.weight.shape[0] - 1)
            for axis in (0, 1):
                x = _filter(x, taps, ((spare + 1) // 2, spare // 2), axis)
        y = correlate(x, self.conv.weight, stride=FACTOR)
        return self.conv.add_bias(y)

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return _conv_names(self.conv, self.fir)


def _conv(
    in_channels: int,
    out_channels: int | None,
    stride: int,
    with_conv: bool,
    key: PRNGKeyArray,
) -> Conv | None:
    out_channels = in_channels if out_channels is None else out_channels
    if with_conv:
        return Conv(in_channels, out_channels, stride=stride, fan_average=1.0, key=key)
    if in_channels != out_channels:
        raise ValueError(
            f"resampling without a convolution keeps the number of channels; got "
            f"in_channels={in_channels} and out_channels={out_channels}. Use "
            "`with_conv=True`."
        )
    return None


def _conv_names(
    conv: Conv | None, fir: tuple[float | int, ...] | None
) -> dict[str, Place]:
    """The original calls its convolution by its kind."""
    if conv is None:
        return {}
    kind = "Conv_0." if fir is None else "Conv2d_0."
    return weight_and_bias(kind, "conv.", KERNEL)


def _taps(fir: Sequence[float | int], gain: int) -> np.ndarray:
    """The filter of one axis, in the order in which it meets the pixels."""
    taps = np.asarray(fir, np.float64)
    return gain * taps[::-1] / taps.sum()


def _filter(
    x: Array, taps: np.ndarray, pad: tuple[int, int], axis: int, stride: int = 1
) -> Array:
    """`y[i] = sum_j taps[j] x[stride i + j - pad[0]]` along an axis; zeros beyond."""
    x = _pad(x, pad, axis)
    length = (x.shape[axis] - len(taps)) // stride + 1
    stop = stride * (length - 1) + 1
    return _weighted(
        [jax.lax.slice_in_dim(x, j, j + stop, stride, axis) for j in range(len(taps))],
        taps,
    )


def _interpolate(x: Array, taps: np.ndarray, pad: tuple[int, int], axis: int) -> Array:
    """`_filter` of the pixels with zeros between, whose terms are not computed.

    Output `2 i + r` meets pixel `i + (r + j - pad[0]) / 2` at the tap `j`, where that
    is a whole number.
    """
    size = x.shape[axis]
    half = len(taps)
    padded = _pad(x, (half, half), axis)
    phases = []
    for phase in range(FACTOR):
        chosen = range((pad[0] - phase) % FACTOR, len(taps), FACTOR)
        starts = [half + (phase + j - pad[0]) // FACTOR for j in chosen]
        parts = [jax.lax.slice_in_dim(padded, s, s + size, 1, axis) for s in starts]
        phases.append(_weighted(parts, taps[list(chosen)]))
    shape = list(x.shape)
    shape[axis] *= FACTOR
    return jnp.stack(phases, axis + 1).reshape(shape)


def _pad(x: Array, pad: tuple[int, int], axis: int) -> Array:
    """Zeros in front and behind; a negative number crops."""
    widths = [(0, 0, 0)] * x.ndim
    widths[axis] = (*pad, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), widths)


def _weighted(parts: list[Array], weights: np.ndarray) -> Array:
    return sum(
        (
            part * jnp.asarray(w, part.dtype)
            for part, w in zip(parts, weights, strict=True)
        ),
        start=jnp.zeros_like(parts[0]),
    )

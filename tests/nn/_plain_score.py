"""NCSN++ written out plainly, in NumPy and SciPy, from a flat state dict.

Nothing here is shared with the library. Convolutions are SciPy's correlations, filters
its `upfirdn`, and modules are taken from the state dict by their numbers.
"""

import numpy as np
from scipy.signal import correlate2d, upfirdn
from scipy.special import expit, softmax

ACTIVATIONS = {
    "swish": lambda x: x * expit(x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "relu": lambda x: np.maximum(x, 0),
    "lrelu": lambda x: np.where(x > 0, x, 0.2 * x),
}


def convolve(x, weight, *, pad=1):
    """A correlation of `(height, width, in)` with `(out, in, rows, columns)`."""
    x = np.pad(x, ((pad, pad), (pad, pad), (0, 0)))
    return np.stack(
        [
            sum(correlate2d(x[..., i], w[i], mode="valid") for i in range(len(w)))
            for w in weight
        ],
        axis=-1,
    )


def zeros_between(x):
    tall = np.zeros((2 * x.shape[0], 2 * x.shape[1], x.shape[2]))
    tall[::2, ::2] = x
    return tall


def upsample(x, fir):
    if fir is None:
        return x.repeat(2, axis=0).repeat(2, axis=1)
    taps = 2 * np.asarray(fir) / np.sum(fir)
    start = (len(fir) - 2) // 2
    for axis in (0, 1):
        size = 2 * x.shape[axis]
        x = upfirdn(taps, x, up=2, axis=axis).take(range(start, start + size), axis)
    return x


def downsample(x, fir):
    if fir is None:
        return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4
    taps = np.asarray(fir) / np.sum(fir)
    for axis in (0, 1):
        # The first sample that is kept has `(len - 1) // 2` taps before its pixel.
        kept = len(fir) - 1 - (len(fir) - 1) // 2 + 2 * np.arange(x.shape[axis] // 2)
        x = upfirdn(taps, x, axis=axis).take(kept, axis)
    return x


def upsample_conv(x, weight, bias, fir):
    """On an image with a wide border of zeros, so that it might as well have none."""
    if fir is None:
        return convolve(upsample(x, None), weight) + bias
    height, width, _ = x.shape
    wide = np.pad(x, ((8, 8), (8, 8), (0, 0)))
    y = convolve(upsample(wide, fir), weight)
    return y[16 : 16 + 2 * height, 16 : 16 + 2 * width] + bias


def downsample_conv(x, weight, bias, fir):
    if fir is None:
        wide = np.pad(x, ((0, 1), (0, 1), (0, 0)))
        return convolve(wide, weight, pad=0)[::2, ::2] + bias
    # Filtered on a wide border; the kernel's centre is half a pixel off the squares.
    height, width, _ = x.shape
    taps = np.asarray(fir) / np.sum(fir)
    wide = np.pad(x, ((8, 8), (8, 8), (0, 0)))
    for axis in (0, 1):
        wide = upfirdn(taps, wide, axis=axis)
    y = convolve(wide, weight, pad=0)
    start = 8 + len(fir) - 1 - (len(fir) + 1) // 2
    return y[start::2, start::2][: height // 2, : width // 2] + bias


def group_norm(x, weight, bias):
    groups = min(x.shape[-1] // 4, 32)
    y = np.moveaxis(x, -1, 0).reshape(groups, -1)
    y = (y - y.mean(1, keepdims=True)) / np.sqrt(y.var(1, keepdims=True) + 1e-6)
    return np.moveaxis(y.reshape(x.shape[-1], *x.shape[:2]), 0, -1) * weight + bias


def positional(v, size):
    half = size // 2
    waves = np.exp(-np.log(10000) * np.arange(half) / (half - 1)) * v
    return np.concatenate([np.sin(waves), np.cos(waves), np.zeros(size % 2)])


class PlainScore:
    """One network: a state dict in double precision, and the options by name."""

    def __init__(self, state, **options):
        self.state = {n: np.asarray(a, np.float64) for n, a in state.items()}
        self.o = options
        self.act = ACTIVATIONS[options["activation"]]

    def part(self, name):
        """A parameter of the module whose turn it is."""
        return self.state[f"all_modules.{self.number}.{name}"]

    def linear(self, v):
        y = self.part("weight") @ v + self.part("bias")
        self.number += 1
        return y

    def conv(self, x):
        y = convolve(x, self.part("weight")) + self.part("bias")
        self.number += 1
        return y

    def norm_act(self, x):
        y = self.act(group_norm(x, self.part("weight"), self.part("bias")))
        self.number += 1
        return y

    def summed(self, a, b):
        return (a + b) / np.sqrt(2) if self.o["skip_rescale"] else a + b

    def block(self, x, resample=lambda x: x):
        norm = lambda i, x: group_norm(
            x, self.part(f"GroupNorm_{i}.weight"), self.part(f"GroupNorm_{i}.bias")
        )
        conv = lambda i, x: (
            convolve(x, self.part(f"Conv_{i}.weight")) + self.part(f"Conv_{i}.bias")
        )
        h = conv(0, resample(self.act(norm(0, x))))
        if self.embedding is not None:
            dense = self.part("Dense_0.weight") @ self.act(self.embedding)
            h = h + dense + self.part("Dense_0.bias")
        h = conv(1, self.act(norm(1, h)))
        x = resample(x)
        if f"all_modules.{self.number}.Conv_2.weight" in self.state:
            x = x @ self.part("Conv_2.weight")[:, :, 0, 0].T + self.part("Conv_2.bias")
        elif f"all_modules.{self.number}.NIN_0.W" in self.state:
            x = x @ self.part("NIN_0.W") + self.part("NIN_0.b")
        self.number += 1
        return self.summed(x, h)

    def attention(self, x):
        normed = group_norm(
            x, self.part("GroupNorm_0.weight"), self.part("GroupNorm_0.bias")
        )
        nin = lambda i, x: x @ self.part(f"NIN_{i}.W") + self.part(f"NIN_{i}.b")
        flat = normed.reshape(-1, x.shape[-1])
        q, k, v = (nin(i, flat) for i in range(3))
        mixed = softmax(q @ k.T / np.sqrt(x.shape[-1]), axis=1) @ v
        y = self.summed(x, nin(3, mixed).reshape(x.shape))
        self.number += 1
        return y

    def resampled(self, x, resample, resample_conv, fir, with_conv):
        if with_conv:
            kind = "Conv_0" if fir is None else "Conv2d_0"
            weight, bias = self.part(f"{kind}.weight"), self.part(f"{kind}.bias")
            x = resample_conv(x, weight, bias, fir)
        else:
            x = resample(x, fir)
        self.number += 1
        return x

    def down(self, x, with_conv):
        return self.resampled(x, downsample, downsample_conv, self.o["fir"], with_conv)

    def up(self, x, with_conv):
        return self.resampled(x, upsample, upsample_conv, self.o["fir"], with_conv)

    def __call__(self, seen, x):
        o, self.number = self.o, 0
        seen, x = float(seen), np.asarray(x, np.float64)
        if o["embedding"] == "fourier":
            waves = 2 * np.pi * np.log(seen) * self.part("W")
            features = np.concatenate([np.sin(waves), np.cos(waves)])
            self.number += 1
        else:
            features = positional(seen, o["width"])
        self.embedding = None
        if o["conditional"]:
            self.embedding = self.linear(self.act(self.linear(features)))
        x = x if o["centered"] else 2 * x - 1
        levels, biggan = len(o["channel_multipliers"]), o["block"] == "biggan"
        attends = lambda h: h.shape[0] in o["attention_resolutions"]

        pyramid, h = x, self.conv(x)
        skips = [h]
        for level in range(levels):
            for _ in range(o["blocks_per_level"]):
                h = self.block(h)
                h = self.attention(h) if attends(h) else h
                skips.append(h)
            if level == levels - 1:
                continue
            if biggan:
                h = self.block(h, lambda x: downsample(x, o["fir"]))
            else:
                h = self.down(h, o["resample_with_conv"])
            if o["progressive_input"] == "residual":
                h = pyramid = self.summed(self.down(pyramid, True), h)
            elif o["progressive_input"] == "input_skip":
                pyramid = downsample(pyramid, o["fir"])
                weight = self.part("Conv_0.weight")[:, :, 0, 0]
                entered = pyramid @ weight.T + self.part("Conv_0.bias")
                self.number += 1
                cat = o["progressive_combine"] == "cat"
                h = np.concatenate([entered, h], -1) if cat else entered + h
            skips.append(h)

        h = self.block(self.attention(self.block(h)))

        output = None
        for level in reversed(range(levels)):
            for _ in range(o["blocks_per_level"] + 1):
                h = self.block(np.concatenate([h, skips.pop()], -1))
            h = self.attention(h) if attends(h) else h
            if o["progressive"] == "output_skip":
                output = 0 if output is None else upsample(output, o["fir"])
                output = output + self.conv(self.norm_act(h))
            elif o["progressive"] == "residual" and output is None:
                output = self.conv(self.norm_act(h))
            elif o["progressive"] == "residual":
                h = output = self.summed(self.up(output, True), h)
            if level > 0 and biggan:
                h = self.block(h, lambda x: upsample(x, o["fir"]))
            elif level > 0:
                h = self.up(h, o["resample_with_conv"])
        if o["progressive"] != "output_skip":
            output = self.conv(self.norm_act(h))
        if o["scale_by_sigma"]:
            sigmas = self.state["sigmas"]
            fourier = o["embedding"] == "fourier"
            output = output / (seen if fourier else sigmas[int(seen)])
        return output

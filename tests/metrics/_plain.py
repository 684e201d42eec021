"""Layers of image networks written out naively in NumPy, in float64, for comparison.

Layouts are PyTorch's: channels first, kernels `(outputs, inputs, rows, columns)`.
"""

import math

import numpy as np


def random_arrays(shapes, seed=0):
    """Arrays of all shapes that keep the signals of a network near one."""
    generator = np.random.default_rng(seed)

    def draw(shape):
        if len(shape) < 2:
            return generator.uniform(0.5, 1.5, shape)
        return generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))

    return {name: draw(shape).astype(np.float32) for name, shape in shapes.items()}


def conv(x, kernel, *, stride=1, padding=(0, 0), groups=1):
    """`y[o, i, j] = sum x[c, s i + u - p, s j + v - p] k[o, c, u, v]`, by pixels."""
    (before, after), (left, right) = (
        p if isinstance(p, tuple) else (p, p) for p in padding
    )
    x = np.pad(x, [(0, 0), (before, after), (left, right)])
    outputs, inputs, rows, columns = kernel.shape
    height = (x.shape[1] - rows) // stride + 1
    width = (x.shape[2] - columns) // stride + 1
    y = np.zeros((outputs, height, width))
    share = outputs // groups
    for group in range(groups):
        part = x[group * inputs : (group + 1) * inputs]
        matrix = kernel[group * share : (group + 1) * share].reshape(share, -1)
        for i in range(height):
            for j in range(width):
                window = part[
                    :,
                    i * stride : i * stride + rows,
                    j * stride : j * stride + columns,
                ]
                y[group * share : (group + 1) * share, i, j] = matrix @ window.ravel()
    return y


def batch_norm(x, arrays, name, eps):
    at = lambda kind: arrays[f"{name}.{kind}"].astype(np.float64)[:, None, None]
    normed = (x - at("running_mean")) / np.sqrt(at("running_var") + eps)
    return normed * at("weight") + at("bias")


def windows(x, size, stride=1, padding=0):
    """The pixels of each window that lie inside the image."""
    _, height, width = x.shape
    for i in range((height + 2 * padding - size) // stride + 1):
        for j in range((width + 2 * padding - size) // stride + 1):
            top, left = i * stride - padding, j * stride - padding
            inside = x[
                :, max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)
            ]
            yield i, j, inside


def pool(x, size, reduce, *, stride=1, padding=0):
    height = (x.shape[1] + 2 * padding - size) // stride + 1
    width = (x.shape[2] + 2 * padding - size) // stride + 1
    y = np.zeros((len(x), height, width))
    for i, j, inside in windows(x, size, stride, padding):
        y[:, i, j] = reduce(inside, axis=(1, 2))
    return y


def linear(x, arrays, name):
    y = x @ arrays[f"{name}.weight"].astype(np.float64).T
    return y + arrays[f"{name}.bias"] if f"{name}.bias" in arrays else y


def layer_norm(x, arrays, name, eps):
    normed = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return normed * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attention(q, k, v, heads):
    """One head after the other."""
    size = q.shape[1] // heads
    parts = []
    for head in range(heads):
        at = slice(head * size, (head + 1) * size)
        weights = softmax(q[:, at] @ k[:, at].T / np.sqrt(size))
        parts.append(weights @ v[:, at])
    return np.concatenate(parts, axis=1)


def gelu(x):
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def first(x):
    """Channels first."""
    return np.asarray(x, np.float64).transpose(2, 0, 1)


def last(x):
    """Channels last."""
    return x.transpose(1, 2, 0)


def assert_equal(ours, theirs, tolerance=1e-5):
    """Equal to `tolerance` of the largest entry."""
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).max() <= tolerance * np.abs(theirs).max()

"""EDM2's network written out plainly, in NumPy and SciPy, from a flat state dict.

Nothing here is shared with the library. Modules are taken from the state dict by their
names, in the original's layouts, and features are channels-last.
"""

import numpy as np
from scipy.special import expit, softmax

from ._plain_score import convolve, downsample, upsample


def rms(x, axis):
    return np.sqrt(np.mean(np.square(x), axis=axis, keepdims=True))


def silu(x):
    return x * expit(x) / 0.596


def add(a, b, balance):
    return ((1 - balance) * a + balance * b) / np.sqrt((1 - balance) ** 2 + balance**2)


def concatenate(a, b, balance):
    na, nb = a.shape[-1], b.shape[-1]
    c = np.sqrt((na + nb) / ((1 - balance) ** 2 + balance**2))
    return np.concatenate(
        [c / np.sqrt(na) * (1 - balance) * a, c / np.sqrt(nb) * balance * b], axis=-1
    )


def layer(x, weight, gain=1.0):
    """A linear map `(out, in)`, or a convolution `(out, in, rows, columns)`."""
    n = weight[0].size
    flat = weight.reshape(len(weight), n)
    flat = flat / (1e-4 + rms(flat, 1)) * gain / np.sqrt(n)
    if weight.ndim == 2:
        return x @ flat.T
    return convolve(x, flat.reshape(weight.shape), pad=weight.shape[-1] // 2)


def fourier(v, state, name):
    angles = v * state[f"{name}.freqs"] + state[f"{name}.phases"]
    return np.sqrt(2) * np.cos(angles)


def block(x, embedding, state, *, kind, resample=None, head_size=8):
    x = {"down": downsample, "up": upsample}.get(resample, lambda x, _: x)(x, None)
    short = lambda x: layer(x, state["conv_skip.weight"])
    if "conv_skip.weight" not in state:
        short = lambda x: x
    if kind == "enc":
        x = short(x)
        x = x / (1e-4 + rms(x, -1))
    h = layer(silu(x), state["conv_res0.weight"])
    h = silu(h * (1 + layer(embedding, state["emb_linear.weight"], state["emb_gain"])))
    h = layer(h, state["conv_res1.weight"])
    x = add(short(x) if kind == "dec" else x, h, 0.3)
    if "attn_qkv.weight" in state:
        height, width, channels = x.shape
        qkv = layer(x, state["attn_qkv.weight"]).reshape(height * width, channels, 3)
        heads = []
        for first in range(0, channels, head_size):
            parts = qkv[:, first : first + head_size]
            q, k, v = np.moveaxis(parts / (1e-4 + rms(parts, 1)), 2, 0)
            heads.append(softmax(q @ k.T / np.sqrt(head_size), axis=-1) @ v)
        y = np.concatenate(heads, axis=-1).reshape(x.shape)
        x = add(x, layer(y, state["attn_proj.weight"]), 0.3)
    return np.clip(x, -256, 256)


def inner(state, name):
    """The part of a state dict below a name."""
    return {
        n.removeprefix(f"{name}."): np.asarray(a, np.float64)
        for n, a in state.items()
        if n.startswith(f"{name}.")
    }


def network(v, x, label, state, *, head_size=8):
    """The network on `(height, width, channels)`, with a one-hot label or `None`."""
    state = inner(state, "unet")
    e = layer(fourier(v, state, "emb_fourier"), state["emb_noise.weight"])
    if label is not None:
        told = layer(label * np.sqrt(label.size), state["emb_label.weight"])
        e = add(e, told, 0.5)
    e = silu(e)
    names = dict.fromkeys(".".join(n.split(".")[:2]) for n in state)
    h, skips = np.concatenate([x, np.ones_like(x[..., :1])], axis=-1), []
    for name in names:
        kind, _, part = name.partition(".")
        if kind not in ("enc", "dec"):
            continue
        if part.endswith("_conv"):
            h = layer(h, state[f"{name}.weight"])
        else:
            if kind == "dec" and "block" in part:
                h = concatenate(h, skips.pop(), 0.5)
            resample = next((r for r in ("down", "up") if part.endswith(r)), None)
            given = dict(kind=kind, resample=resample, head_size=head_size)
            h = block(h, e, inner(state, name), **given)
        if kind == "enc":
            skips.append(h)
    return layer(h, state["out_conv.weight"], state["out_gain"])

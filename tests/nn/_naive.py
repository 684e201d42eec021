"""Networks written out in NumPy, as plainly as they can be, in float64.

Images are `(height, width, channels)`; kernels are `(height, width, in, out)`.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np


def random_weights(network, seed=1, dtype=np.float64, scale=0.3):
    """The network, with every weight drawn anew, so that no branch is idle."""
    rng = np.random.default_rng(seed)
    arrays, rest = eqx.partition(network, eqx.is_array)
    arrays = jax.tree.map(
        lambda p: jnp.asarray(scale * rng.standard_normal(p.shape), dtype), arrays
    )
    return eqx.combine(arrays, rest)


def conv(layer, x, dilation=1):
    """Every output pixel is a sum over the kernel of pixels inside the image."""
    weight = np.asarray(layer.weight, np.float64)
    half = weight.shape[0] // 2
    height, width, _ = x.shape
    y = np.zeros((height, width, weight.shape[-1]))
    for i in range(height):
        for j in range(width):
            for a in range(weight.shape[0]):
                for b in range(weight.shape[1]):
                    k = i + dilation * (a - half)
                    m = j + dilation * (b - half)
                    if 0 <= k < height and 0 <= m < width:
                        y[i, j] += x[k, m] @ weight[a, b]
    return y if layer.bias is None else y + np.asarray(layer.bias)


def linear(layer, x):
    return x @ np.asarray(layer.weight) + np.asarray(layer.bias)


def silu(x):
    return x / (1 + np.exp(-x))


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def instance_norm_plus(x, gamma, alpha, beta):
    """`np.var(ddof=1)` is the unbiased variance of the means of the channels."""
    means = x.mean((0, 1))
    plain = (x - means) / np.sqrt(x.var((0, 1)) + 1e-5)
    relative = (means - means.mean()) / np.sqrt(means.var(ddof=1) + 1e-5)
    return gamma * (plain + alpha * relative) + beta


def norm(layer, x, level):
    if hasattr(layer, "embed"):
        row = np.asarray(layer.embed)[level]
        gamma, alpha, beta = row.reshape(3, -1)
    else:
        gamma, alpha, beta = (
            np.asarray(v) for v in (layer.gamma, layer.alpha, layer.beta)
        )
    return instance_norm_plus(x, gamma, alpha, beta)


def mean_pool(x):
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def pool(x, reduce, beyond):
    """Over the 5x5 pixels around each, with a value beyond the border."""
    padded = np.pad(x, ((2, 2), (2, 2), (0, 0)), constant_values=beyond)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5), axis=(0, 1))
    return reduce(windows, axis=(-2, -1))


def resize(x, height, width):
    """Bilinear interpolation at the places that let the corners coincide."""
    y = np.zeros((height, width, x.shape[-1]))
    for i in range(height):
        for j in range(width):
            r = i * (x.shape[0] - 1) / (height - 1)
            c = j * (x.shape[1] - 1) / (width - 1)
            r0, c0 = min(int(r), x.shape[0] - 2), min(int(c), x.shape[1] - 2)
            u, v = r - r0, c - c0
            y[i, j] = (1 - u) * ((1 - v) * x[r0, c0] + v * x[r0, c0 + 1]) + u * (
                (1 - v) * x[r0 + 1, c0] + v * x[r0 + 1, c0 + 1]
            )
    return y


def ncsn_block(block, x, level, down=False, dilation=None):
    spread = dilation or 1
    pooled = down and dilation is None

    def second(layer, x):
        return mean_pool(conv(layer.conv, x)) if pooled else conv(layer, x, spread)

    h = conv(block.conv1, elu(norm(block.normalize1, x, level)), spread)
    h = second(block.conv2, elu(norm(block.normalize2, h, level)))
    return (x if block.shortcut is None else second(block.shortcut, x)) + h


def rcu(block, x, level):
    for i, convs in enumerate(block.convs):
        h = x
        for j, layer in enumerate(convs):
            h = h if block.norms is None else norm(block.norms[i][j], h, level)
            h = conv(layer, elu(h))
        x = x + h
    return x


def fusion(block, xs, level, height, width):
    y = 0
    for i, layer in enumerate(block.convs):
        h = xs[i] if block.norms is None else norm(block.norms[i], xs[i], level)
        y = y + resize(conv(layer, h), height, width)
    return y


def chained_pooling(block, x, level):
    x = path = elu(x)
    for i, layer in enumerate(block.convs):
        if block.norms is None:
            path = pool(path, np.max, -np.inf)
        else:
            path = pool(norm(block.norms[i], path, level), np.mean, 0.0)
        path = conv(layer, path)
        x = x + path
    return x


def refine(block, xs, level):
    hs = [rcu(part, x, level) for part, x in zip(block.adapt_convs, xs, strict=True)]
    h = hs[0]
    if block.msf is not None:
        h = fusion(block.msf, hs, level, *xs[0].shape[:2])
    return rcu(block.output_convs, chained_pooling(block.crp, h, level), level)


def refine_net(net, x, level, told=0.0):
    h = conv(net.begin_conv, 2 * x - 1) + told
    layers = []
    for stage, down, dilation in (
        (net.res1, False, None),
        (net.res2, True, None),
        (net.res3, True, 2),
        (net.res4, True, 4),
    ):
        h = ncsn_block(stage[0], h, level, down, dilation)
        h = ncsn_block(stage[1], h, level, False, dilation)
        layers.append(h)
    h = refine(net.refine1, [layers[3]], level)
    h = refine(net.refine2, [layers[2], h], level)
    h = refine(net.refine3, [layers[1], h], level)
    h = refine(net.refine4, [layers[0], h], level)
    return conv(net.end_conv, elu(norm(net.normalizer, h, level)))


def time_embedding(layer, t, told=0.0):
    angles = t * np.geomspace(1, layer.max_frequency, layer.num_features // 2)
    waves = np.sqrt(2) * np.concatenate([np.sin(angles), np.cos(angles)])
    return silu(linear(layer.second, silu(linear(layer.first, waves))) + told)


def layer_norm(x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-6)


def gelu(x):
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def dit_block(block, i, embedding, x, num_heads):
    """Block `i` of the stacked ones."""
    at = lambda layer: eqx.tree_at(
        lambda m: (m.weight, m.bias), layer, (layer.weight[i], layer.bias[i])
    )
    width = x.shape[1]
    modulation = linear(at(block.modulation), embedding).reshape(6, width)
    shift1, scale1, gate1, shift2, scale2, gate2 = modulation
    qkv = linear(at(block.qkv), layer_norm(x) * (1 + scale1) + shift1)
    size = width // num_heads
    heads = []
    for head in range(num_heads):
        query, key, value = (
            qkv[:, part * width + head * size : part * width + (head + 1) * size]
            for part in range(3)
        )
        weights = np.exp(query @ key.T / np.sqrt(size))
        heads.append(weights / weights.sum(1, keepdims=True) @ value)
    x = x + gate1 * linear(at(block.out), np.concatenate(heads, axis=1))
    h = linear(at(block.first), layer_norm(x) * (1 + scale2) + shift2)
    return x + gate2 * linear(at(block.second), gelu(h))


def dit(network, t, x, told=0.0):
    options = network.arguments
    size, width = options["patch_size"], options["width"]
    height, columns, channels = x.shape
    embedding = time_embedding(network.embedding, t, told)
    patches, places = [], []
    n = width // 4
    for i in range(height // size):
        for j in range(columns // size):
            patch = x[i * size : (i + 1) * size, j * size : (j + 1) * size]
            patches.append(patch.reshape(-1))
            places.append(
                [np.sin(i / 10000 ** (k / n)) for k in range(n)]
                + [np.cos(i / 10000 ** (k / n)) for k in range(n)]
                + [np.sin(j / 10000 ** (k / n)) for k in range(n)]
                + [np.cos(j / 10000 ** (k / n)) for k in range(n)]
            )
    h = linear(network.first, np.array(patches)) + np.array(places)
    for i in range(options["depth"]):
        h = dit_block(network.blocks, i, embedding, h, options["num_heads"])
    shift, scale = linear(network.modulation, embedding).reshape(2, width)
    h = linear(network.last, layer_norm(h) * (1 + scale) + shift)
    y = np.zeros_like(x)
    for number, patch in enumerate(h):
        i, j = divmod(number, columns // size)
        y[i * size : (i + 1) * size, j * size : (j + 1) * size] = patch.reshape(
            size, size, channels
        )
    return y

"""Image networks against layers written out naively, and published names."""

import json
import pathlib

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.metrics._networks._clip import _NAMES as CLIP_NAMES
from softsde.metrics._networks._dinov2 import _NAMES as DINO_NAMES
from softsde.metrics._networks._efficientnet_lite import InvertedResidual
from softsde.metrics._networks._inception import _BLOCKS, MixedBlock
from softsde.metrics._networks._vision_transformer import (
    TransformerBlock,
    cubic_positions,
    gelu as our_gelu,
    quick_gelu,
)
from softsde.metrics._networks._weights import Weights, shapes_of

from ._plain import (
    assert_equal,
    attention,
    batch_norm,
    conv,
    first,
    gelu,
    last,
    layer_norm,
    linear,
    pool,
    random_arrays,
)

PUBLISHED = json.loads(
    (pathlib.Path(__file__).parent / "data/published_arrays.json").read_text()
)
SIZE = ss.metrics.TransformerSize(width=24, depth=2, heads=3, patch=4, grid=3)


@eqx.filter_jit
def run(module, *arguments):
    return module(*arguments)


def image(*shape, seed=1):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


# InceptionV3


def basic(x, arrays, name, *, stride=1, padding=(0, 0)):
    y = conv(x, arrays[f"{name}.conv.weight"], stride=stride, padding=padding)
    return np.maximum(batch_norm(y, arrays, f"{name}.bn", 1e-3), 0)


def mixed(x, arrays, name):
    """The eleven blocks, as their paper's figures 5, 6, 7 and 10 draw them."""

    def go(x, *layers):
        for layer, stride, *padding in layers:
            padding = padding or (0, 0)
            x = basic(x, arrays, f"{name}.{layer}", stride=stride, padding=padding)
        return x

    average = lambda: pool(x, 3, np.mean, padding=1)
    if name in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        double = ("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1, 1, 1)
        parts = [
            go(x, ("branch1x1", 1)),
            go(x, ("branch5x5_1", 1), ("branch5x5_2", 1, 2, 2)),
            go(x, *double, ("branch3x3dbl_3", 1, 1, 1)),
            go(average(), ("branch_pool", 1)),
        ]
    elif name == "Mixed_6a":
        double = ("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1, 1, 1)
        parts = [
            go(x, ("branch3x3", 2)),
            go(x, *double, ("branch3x3dbl_3", 2)),
            pool(x, 3, np.max, stride=2),
        ]
    elif name.startswith("Mixed_6"):
        wide, high = (1, 0, 3), (1, 3, 0)
        parts = [
            go(x, ("branch1x1", 1)),
            go(
                x,
                ("branch7x7_1", 1),
                ("branch7x7_2", *wide),
                ("branch7x7_3", *high),
            ),
            go(
                x,
                ("branch7x7dbl_1", 1),
                ("branch7x7dbl_2", *high),
                ("branch7x7dbl_3", *wide),
                ("branch7x7dbl_4", *high),
                ("branch7x7dbl_5", *wide),
            ),
            go(average(), ("branch_pool", 1)),
        ]
    elif name == "Mixed_7a":
        parts = [
            go(x, ("branch3x3_1", 1), ("branch3x3_2", 2)),
            go(
                x,
                ("branch7x7x3_1", 1),
                ("branch7x7x3_2", 1, 0, 3),
                ("branch7x7x3_3", 1, 3, 0),
                ("branch7x7x3_4", 2),
            ),
            pool(x, 3, np.max, stride=2),
        ]
    else:
        three = go(x, ("branch3x3_1", 1))
        double = go(x, ("branch3x3dbl_1", 1), ("branch3x3dbl_2", 1, 1, 1))
        # The one block whose pooling is a maximum is what makes it FID's network.
        pooled = pool(x, 3, np.max, padding=1) if name == "Mixed_7c" else average()
        parts = [
            go(x, ("branch1x1", 1)),
            go(three, ("branch3x3_2a", 1, 0, 1)),
            go(three, ("branch3x3_2b", 1, 1, 0)),
            go(double, ("branch3x3dbl_3a", 1, 0, 1)),
            go(double, ("branch3x3dbl_3b", 1, 1, 0)),
            go(pooled, ("branch_pool", 1)),
        ]
    return np.concatenate(parts)


@pytest.mark.parametrize(
    "block",
    [
        block
        if block[0] in ("Mixed_5b", "Mixed_6a", "Mixed_7a", "Mixed_7c")
        else pytest.param(block, marks=pytest.mark.slow)
        for block in _BLOCKS
    ],
    ids=lambda block: block[0],
)
def test_inception_block(block):
    shapes = shapes_of(lambda weights: MixedBlock(weights, *block))
    arrays = random_arrays(shapes)
    x = image(5, 4, block[1])
    ours = run(MixedBlock(Weights(arrays), *block), x)
    assert_equal(ours, last(mixed(first(x), arrays, block[0])))


@pytest.mark.slow
def test_inception():
    arrays = random_arrays(ss.metrics.InceptionV3.shapes())
    network = ss.metrics.InceptionV3(arrays)
    x = image(91, 79, 3)
    y = basic(first(x), arrays, "Conv2d_1a_3x3", stride=2)
    y = basic(y, arrays, "Conv2d_2a_3x3")
    y = basic(y, arrays, "Conv2d_2b_3x3", padding=(1, 1))
    y = pool(y, 3, np.max, stride=2)
    y = basic(y, arrays, "Conv2d_3b_1x1")
    y = basic(y, arrays, "Conv2d_4a_3x3")
    y = pool(y, 3, np.max, stride=2)
    for name, *_ in _BLOCKS:
        y = mixed(y, arrays, name)
    features = y.mean((1, 2))
    ours = run(network, x)
    assert_equal(ours, features)
    logits = linear(features, arrays, "fc")
    assert_equal(network.logits(ours), logits)
    unbiased = network.logits(ours, bias=False)
    assert_equal(unbiased, logits - arrays["fc.bias"])


# EfficientNet-Lite0


def same(length, size, stride):
    """TensorFlow's "SAME": the smaller half of the padding comes first."""
    total = max((-(-length // stride) - 1) * stride + size - length, 0)
    return total // 2, total - total // 2


def inverted_residual(x, arrays, name, *, stride, size):
    six = lambda y: np.clip(y, 0, 6)
    y = x
    if f"{name}._expand_conv.weight" in arrays:
        y = conv(y, arrays[f"{name}._expand_conv.weight"])
        y = six(batch_norm(y, arrays, f"{name}._bn0", 1e-3))
    padding = [same(length, size, stride) for length in y.shape[1:]]
    kernel = arrays[f"{name}._depthwise_conv.weight"]
    y = conv(y, kernel, stride=stride, padding=padding, groups=len(y))
    y = six(batch_norm(y, arrays, f"{name}._bn1", 1e-3))
    y = conv(y, arrays[f"{name}._project_conv.weight"])
    y = batch_norm(y, arrays, f"{name}._bn2", 1e-3)
    return x + y if y.shape == x.shape else y


@pytest.mark.parametrize(
    "inputs, outputs, expansion, size, stride",
    [(8, 4, 1, 3, 1), (4, 6, 6, 3, 2), (4, 4, 6, 5, 1), (4, 6, 6, 5, 2)],
)
def test_efficientnet_block(inputs, outputs, expansion, size, stride):
    options = dict(expansion=expansion, size=size, stride=stride)
    build = lambda weights: InvertedResidual(weights, "b", inputs, outputs, **options)
    arrays = random_arrays(shapes_of(build))
    x = image(7, 6, inputs)
    theirs = inverted_residual(first(x), arrays, "b", stride=stride, size=size)
    assert_equal(run(build(Weights(arrays)), x), last(theirs))


@pytest.mark.slow
def test_efficientnet():
    arrays = random_arrays(ss.metrics.EfficientNetLite0.shapes())
    network = ss.metrics.EfficientNetLite0(arrays)
    x = image(40, 37, 3)
    y = first(x)
    padding = [same(length, 3, 2) for length in y.shape[1:]]
    y = conv(y, arrays["_conv_stem.weight"], stride=2, padding=padding)
    y = np.clip(batch_norm(y, arrays, "_bn0", 1e-3), 0, 6)
    # Strides and kernels of the sixteen blocks.
    strides = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
    sizes = (3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3)
    for number, (stride, size) in enumerate(zip(strides, sizes, strict=True)):
        name = f"_blocks.{number}"
        y = inverted_residual(y, arrays, name, stride=stride, size=size)
    y = conv(y, arrays["_conv_head.weight"])
    features = np.clip(batch_norm(y, arrays, "_bn1", 1e-3), 0, 6).mean((1, 2))
    ours = run(network, x)
    assert_equal(ours, features)
    assert_equal(network.logits(ours), linear(features, arrays, "_fc"))


# The transformers


def transformer_block(x, arrays, prefix, names, *, eps, activation):
    at = lambda name: f"{prefix}.{name}"
    scale = lambda name: 1 if name is None else arrays[at(name)]
    h = layer_norm(x, arrays, at(names.norm1), eps)
    qkv = np.concatenate([linear(h, arrays, at(name)) for name in names.qkv], axis=1)
    h = attention(*np.split(qkv, 3, axis=1), SIZE.heads)
    x = x + linear(h, arrays, at(names.out)) * scale(names.scale1)
    h = activation(
        linear(layer_norm(x, arrays, at(names.norm2), eps), arrays, at(names.first))
    )
    return x + linear(h, arrays, at(names.second)) * scale(names.scale2)


def quick(x):
    return x / (1 + np.exp(-1.702 * x))


KINDS = {
    "DINOv2": (DINO_NAMES, 1e-6, our_gelu, gelu),
    "CLIP": (CLIP_NAMES, 1e-5, quick_gelu, quick),
}


@pytest.mark.parametrize("kind", KINDS)
def test_transformer_block(kind):
    names, eps, ours, plain = KINDS[kind]
    build = lambda weights: TransformerBlock(
        weights, "b", names, SIZE, eps=eps, activation=ours
    )
    arrays = random_arrays(shapes_of(build))
    x = image(7, SIZE.width)
    theirs = transformer_block(
        x.astype(np.float64), arrays, "b", names, eps=eps, activation=plain
    )
    assert_equal(run(build(Weights(arrays)), x), theirs)


def tokens(x, kernel, bias):
    y = conv(first(x), kernel, stride=SIZE.patch)
    return y.reshape(len(y), -1).T + bias


def test_dinov2():
    arrays = random_arrays(ss.metrics.DINOv2.shapes(SIZE))
    side = SIZE.grid * SIZE.patch
    x = image(side, side, 3)
    name = "patch_embed.proj"
    h = tokens(x, arrays[f"{name}.weight"], arrays[f"{name}.bias"])
    h = np.concatenate([arrays["cls_token"][0], h]) + arrays["pos_embed"][0]
    for number in range(SIZE.depth):
        h = transformer_block(
            h, arrays, f"blocks.{number}", DINO_NAMES, eps=1e-6, activation=gelu
        )
    theirs = layer_norm(h, arrays, "norm", 1e-6)[0]
    assert_equal(run(ss.metrics.DINOv2(arrays, SIZE), x), theirs)


def test_clip():
    arrays = random_arrays(ss.metrics.CLIP.shapes(SIZE, 10))
    side = SIZE.grid * SIZE.patch
    x = image(side, side, 3)
    at = "vision_model.embeddings"
    h = tokens(x, arrays[f"{at}.patch_embedding.weight"], 0)
    h = np.concatenate([arrays[f"{at}.class_embedding"][None], h])
    h = h + arrays[f"{at}.position_embedding.weight"]
    h = layer_norm(h, arrays, "vision_model.pre_layrnorm", 1e-5)
    for number in range(SIZE.depth):
        prefix = f"vision_model.encoder.layers.{number}"
        h = transformer_block(h, arrays, prefix, CLIP_NAMES, eps=1e-5, activation=quick)
    h = layer_norm(h[0], arrays, "vision_model.post_layernorm", 1e-5)
    theirs = linear(h, arrays, "visual_projection")
    assert_equal(run(ss.metrics.CLIP(arrays, SIZE, 10), x), theirs)


def test_positions_between_the_trained_ones():
    """Keys' kernel with a = -3/4, over all places of a border that is repeated."""
    trained = np.random.default_rng(0).normal(size=(6, 6, 2))
    padded = np.pad(trained, [(8, 8), (8, 8), (0, 0)], mode="edge")
    distance = np.abs((np.arange(4) + 0.5)[:, None] * 6 / 4.1 - 0.5 - np.arange(-8, 14))
    near = 1.25 * distance**3 - 2.25 * distance**2 + 1
    far = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
    kernel = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    truth = np.einsum("ip,jq,pqc->ijc", kernel, kernel, padded)
    ours = cubic_positions(jnp.asarray(trained, jnp.float32), 4)
    assert_equal(ours, truth)


# Names and shapes


@pytest.mark.parametrize(
    "name, network",
    [
        ("dinov2", ss.metrics.DINOv2),
        ("clip", ss.metrics.CLIP),
        ("vgg16", ss.metrics.VGG16),
        ("efficientnet", ss.metrics.EfficientNetLite0),
    ],
)
def test_arrays_are_those_of_the_published_file(name, network):
    """By timm, transformers and torchvision; the last by the file itself."""
    published = {key: tuple(shape) for key, shape in PUBLISHED[name].items()}
    assert network.shapes() == published


@pytest.mark.parametrize(
    "network, published",
    [
        # torchvision's 27,161,264, without the second head, and with 1008 classes.
        (ss.metrics.InceptionV3, 27_161_264 - 3_326_696 - 2049 * 1000 + 2049 * 1008),
        # torchvision's 138,357,544, without the three matrices of the classifier.
        (ss.metrics.VGG16, 138_357_544 - 102_764_544 - 16_781_312 - 4_097_000),
    ],
)
def test_numbers_of_parameters_are_the_published_ones(network, published):
    sizes = {
        name: int(np.prod(shape))
        for name, shape in network.shapes().items()
        if "running" not in name
    }
    assert sum(sizes.values()) == published


def test_arrays_that_do_not_match_are_named():
    shapes = dict(ss.metrics.DINOv2.shapes(SIZE))
    arrays = random_arrays(shapes)
    ss.metrics.DINOv2({**arrays, "mask_token": np.zeros((1, 24))}, SIZE)
    arrays["extra"] = np.zeros(2)
    del arrays["norm.bias"]
    arrays["cls_token"] = np.zeros((1, 24))
    with pytest.raises(ValueError) as error:
        ss.metrics.DINOv2(arrays, SIZE)
    message = str(error.value)
    assert "DINOv2" in message
    assert "1 missing: norm.bias" in message
    assert "1 left over: extra" in message
    assert "1 misshapen: cls_token (1, 24) (expected (1, 1, 24))" in message

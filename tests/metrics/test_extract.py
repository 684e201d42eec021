import os
import subprocess
import sys
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.metrics import (
    FunctionFeatures,
    PixelFeatures,
    extract_features,
    feature_batches,
)


class Extractor(eqx.Module):
    conv: eqx.nn.Conv2d
    linear: eqx.nn.Linear

    def __init__(self, key):
        a, b = jax.random.split(key)
        self.conv = eqx.nn.Conv2d(1, 4, 3, key=a)
        self.linear = eqx.nn.Linear(4 * 4 * 3, 5, key=b)

    def features(self, x):
        return self.linear(jnp.tanh(self.conv(x.transpose(2, 0, 1))).ravel())


@pytest.fixture
def images():
    return np.random.default_rng(0).random((13, 6, 5, 1), dtype=np.float32)


def by_hand(images):
    return np.stack([images.mean((1, 2, 3)), images.max((1, 2, 3))], axis=1)


def test_every_image_once_and_in_order(images):
    fn = lambda x: jnp.stack([x.mean(), x.max()])
    for batch_size in (1, 4, 13, 100):
        features = extract_features(fn, images, batch_size)
        np.testing.assert_allclose(features, by_hand(images), rtol=1e-6)
    np.testing.assert_allclose(
        extract_features(fn, jnp.asarray(images)), by_hand(images), rtol=1e-6
    )


@pytest.mark.parametrize("batch_size", [2, 5, 256])
def test_network_sees_one_image_at_a_time(key, images, batch_size):
    network = Extractor(key)
    one = eqx.filter_jit(network.features)
    expected = np.stack([one(jnp.asarray(image)) for image in images])
    features = extract_features(network.features, images, batch_size)
    np.testing.assert_allclose(features, expected, rtol=1e-5, atol=1e-6)


def test_features_do_not_depend_on_the_other_images(key, images):
    # To the last bit: the padded batch is the same program.
    network = Extractor(key)
    features = extract_features(network.features, images, 8)
    np.testing.assert_array_equal(
        extract_features(network.features, images[:3], 8), features[:3]
    )


def test_compiled_once_for_all_batches_and_weights(key, images):
    traces = []

    class Counted(eqx.Module):
        weight: jax.Array

        def __call__(self, x):
            traces.append(1)
            return self.weight * x.ravel()

    for weight in (1.0, 2.0):
        features = extract_features(Counted(jnp.array(weight)), images, 4)
        np.testing.assert_array_equal(features, weight * images.reshape(13, -1))
    assert len(traces) == 1


def test_weights_committed_to_one_device(key, images):
    network = Extractor(key)
    expected = extract_features(network.features, images)
    moved = jax.device_put(eqx.filter(network, eqx.is_array), jax.devices()[-1])
    moved = eqx.combine(moved, network)
    np.testing.assert_array_equal(extract_features(moved.features, images), expected)


def test_refusals(images):
    ravel = lambda x: x.ravel()
    with pytest.raises(TypeError, match=r"uint8.*/ 255"):
        extract_features(ravel, (images * 255).astype(np.uint8))
    with pytest.raises(ValueError, match="`images` is empty"):
        extract_features(ravel, images[:0])
    with pytest.raises(ValueError, match=r"shape \(6, 5, 1\).*Pool or ravel"):
        extract_features(lambda x: x, images)
    with pytest.raises(
        ValueError, match=r"from -1 to 1.*\[0, 1\].*\(images \+ 1\) / 2"
    ):
        extract_features(ravel, 2 * np.round(images) - 1)
    with pytest.raises(ValueError, match=r"from 0 to 255.*images / 255"):
        extract_features(ravel, np.where(images == images.max(), 255, 0 * images))
    with pytest.raises(ValueError, match=r"np\.clip\(images, 0, 1\)"):
        extract_features(ravel, images + np.float32(0.2))
    broken = images.copy()
    broken[[2, 7, 12], 1, 1] = np.nan
    with pytest.raises(ValueError, match=r"3 images out of 13 .* not finite"):
        extract_features(ravel, broken, 2)
    with pytest.raises(ValueError, match=r"mixed sizes: \(6, 5, 1\), and \(5, 5, 1\)"):
        extract_features(ravel, [images, images[:, 1:]])
    with pytest.raises(ValueError, match=r"batch of shape \(6,\).*num, height"):
        extract_features(ravel, [images[0, :, 0, 0]])
    sized = FunctionFeatures(ravel, name="ravel", size=(28, None, 1))
    with pytest.raises(ValueError, match=r"shape \(6, 5, 1\).*\(28, width, 1\)"):
        extract_features(sized, images)
    with pytest.raises(ValueError, match="`batch_size` is 0"):
        extract_features(ravel, images, 0)


def test_streams_of_any_lengths(images):
    parts = lambda: iter([images[:1], images[1:9], images[9:9], images[9:]])
    for batch_size in (1, 3, 50):
        rows = list(feature_batches(PixelFeatures(), parts(), batch_size))
        np.testing.assert_array_equal(np.concatenate(rows), images.reshape(13, -1))
        assert all(len(part) == len(jax.devices()) * batch_size for part in rows[:-1])


def test_one_image_at_most_waits(images):
    # Memory does not grow with the number of images: batches are taken one by one.
    taken = []

    def stream():
        for i in range(10):
            taken.append(i)
            yield images[:2]

    rows = feature_batches(PixelFeatures(), stream(), 1)
    next(rows)
    assert len(taken) <= 3


def test_present_weights_of_opaque_functions(images):
    class Holder:
        scale = 1.0

        def features(self, x):
            return self.scale * x.ravel()

    holder = Holder()
    expected = images.reshape(13, -1)
    scale = 1.0
    closure = lambda x: scale * x.ravel()
    for value in (1.0, 3.0):
        scale = holder.scale = value
        for fn in (holder.features, closure):
            np.testing.assert_allclose(
                extract_features(fn, images), value * expected, rtol=1e-6
            )


def test_present_weights_of_functions_within_modules(images):
    class Wrapped(eqx.Module):
        function: Callable

        def __call__(self, x):
            return self.function(x)

    scale = 1.0
    wrapped = Wrapped(lambda x: scale * x.ravel())
    for value in (1.0, 3.0):
        scale = value
        np.testing.assert_allclose(
            extract_features(wrapped, images), value * images.reshape(13, -1), rtol=1e-6
        )


def test_hash_is_that_of_present_weights(key):
    network = Extractor(key)
    name = lambda fn: FunctionFeatures(fn, name="features").hash
    assert name(network.features) == name(Extractor(key).features)
    changed = eqx.tree_at(lambda n: n.linear.bias, network, network.linear.bias + 1)
    assert name(changed.features) != name(network.features)
    space = FunctionFeatures(network.features, name="features")
    moved = eqx.tree_at(
        lambda s: s.function.__self__.linear.bias, space, network.linear.bias + 1
    )
    assert moved.hash == name(changed.features)
    # Nothing is known about a plain function, unless the user tells.
    assert name(lambda x: x.ravel()) == ""
    assert FunctionFeatures(jnp.ravel, name="pixels", hash="p").hash == "p"


@pytest.mark.slow
def test_features_do_not_depend_on_the_number_of_devices(tmp_path):
    """1, 2 and 8 devices, in processes of their own: equal to the last bit."""
    program = """
import sys
import jax, numpy as np
import softsde as ss
network = ss.nn.Classifier((12, 12, 1), num_classes=3, key=jax.random.key(0))
images = np.random.default_rng(0).random((300, 12, 12, 1), dtype=np.float32)
space = ss.metrics.FunctionFeatures(network.features, name="features")
s = ss.metrics.FeatureStatistics.of(space, images, batch_size=16)
np.savez(sys.argv[1], mean=s.moments.mean, scatter=s.moments.scatter, kept=s.kept)
assert len(jax.devices()) == int(sys.argv[2])
"""
    found = []
    for devices in (1, 2, 8):
        path = tmp_path / f"{devices}.npz"
        flag = f"--xla_force_host_platform_device_count={devices}"
        subprocess.run(
            [sys.executable, "-c", program, str(path), str(devices)],
            env={**os.environ, "XLA_FLAGS": flag, "JAX_PLATFORMS": "cpu"},
            check=True,
        )
        with np.load(path) as file:
            found.append(dict(file))
    for other in found[1:]:
        for name, value in found[0].items():
            np.testing.assert_allclose(other[name], value, rtol=1e-10, err_msg=name)

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.metrics import extract_features


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
    with pytest.raises(ValueError, match="`batch_size` is 0"):
        extract_features(ravel, images, 0)

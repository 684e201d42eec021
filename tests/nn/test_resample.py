"""Resampling against SciPy's `upfirdn` and against the published code's numbers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import upfirdn

from softsde.nn import (
    Downsample,
    Upsample,
    fir_downsample,
    fir_upsample,
    mean_downsample,
    repeat_upsample,
)

from . import _plain_score as plain
from ._vectors import DATA

FILTERS = [(1, 3, 3, 1), (1, 1), (1, 2, 3, 4), (1, 5, 10, 10, 5, 2)]


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def first(image):
    """The only image of a batch, channels last."""
    return np.moveaxis(image[0], 0, -1)


@pytest.fixture(scope="module")
def vectors():
    with np.load(DATA / "score_layers.npz") as file:
        return dict(file)


@pytest.mark.parametrize("fir", FILTERS)
def test_upsampling_is_scipys(x64, fir):
    """Also with filters that are not symmetric, and of other lengths."""
    x = normal(6, 4, 3)
    expected, taps = np.asarray(x), 2 * np.asarray(fir) / np.sum(fir)
    for axis in (0, 1):
        size = 2 * x.shape[axis]
        # The output starts so that the filter's middle is between two pixels.
        whole = upfirdn(taps, expected, up=2, axis=axis)
        expected = np.moveaxis(whole, axis, 0)[len(fir) // 2 - 1 :][:size]
        expected = np.moveaxis(expected, 0, axis)
    np.testing.assert_allclose(fir_upsample(x, fir), expected, atol=1e-14)


@pytest.mark.parametrize("fir", FILTERS)
def test_downsampling_is_scipys(x64, fir):
    x = normal(6, 4, 3)
    expected, taps = np.asarray(x), np.asarray(fir) / np.sum(fir)
    for axis in (0, 1):
        whole = upfirdn(taps, expected, axis=axis)
        kept = np.moveaxis(whole, axis, 0)[len(fir) // 2 :: 2][: x.shape[axis] // 2]
        expected = np.moveaxis(kept, 0, axis)
    np.testing.assert_allclose(fir_downsample(x, fir), expected, atol=1e-14)


def test_the_published_code_agrees(vectors):
    """Filters, their response to one pixel, and the resampling without filters."""
    for name, function in {
        "upsample_2d": fir_upsample,
        "downsample_2d": fir_downsample,
        "naive_upsample_2d": repeat_upsample,
        "naive_downsample_2d": mean_downsample,
    }.items():
        got = function(jnp.asarray(first(vectors["x"])))
        np.testing.assert_allclose(got, first(vectors[name]), atol=2e-6)
    impulse = jnp.asarray(first(vectors["impulse"]))
    for name, function in {
        "upsample_2d_impulse": fir_upsample,
        "downsample_2d_impulse": fir_downsample,
    }.items():
        np.testing.assert_allclose(function(impulse), first(vectors[name]), atol=1e-7)


def test_the_published_convolution_agrees(vectors, key):
    layer = Downsample(2, 3, with_conv=True, fir=(1, 3, 3, 1), key=key)
    weight = jnp.asarray(vectors["conv_w"].transpose(2, 3, 1, 0))
    layer = eqx.tree_at(lambda m: m.conv.weight, layer, weight)
    got = layer(jnp.asarray(first(vectors["x"])))
    np.testing.assert_allclose(got, first(vectors["conv_downsample_2d"]), atol=1e-5)


@pytest.mark.parametrize("fir", [None, (1, 3, 3, 1), (1, 2, 3, 4)])
@pytest.mark.parametrize("with_conv", [False, True])
def test_layers_against_scipy(x64, key, fir, with_conv):
    """Convolution and filter act as if the border were far away."""
    x, bias = normal(8, 6, 2), normal(2, seed=1)
    for layer, without, with_ in (
        (Upsample, plain.upsample, plain.upsample_conv),
        (Downsample, plain.downsample, plain.downsample_conv),
    ):
        made = layer(2, with_conv=with_conv, fir=fir, key=key)
        if not with_conv:
            expected = without(np.asarray(x), fir)
        else:
            made = eqx.tree_at(lambda m: m.conv.bias, made, bias)
            weight = np.asarray(made.conv.weight, np.float64).transpose(3, 2, 0, 1)
            expected = with_(np.asarray(x), weight, np.asarray(bias), fir)
        np.testing.assert_allclose(made(x), expected, atol=1e-12)


def test_a_constant_image_stays_constant_away_from_its_border():
    x = jnp.full((8, 8, 1), 3.0)
    np.testing.assert_allclose(fir_upsample(x)[2:-2, 2:-2], 3.0, rtol=1e-6)
    np.testing.assert_allclose(fir_downsample(x)[1:-1, 1:-1], 3.0, rtol=1e-6)


def test_down_is_a_quarter_of_ups_transpose(x64):
    """With a symmetric filter: `<up(x), y> = 4 <x, down(y)>`."""
    x, y = normal(4, 6, 2), normal(8, 12, 2, seed=1)
    (pulled,) = jax.linear_transpose(fir_upsample, x)(y)
    np.testing.assert_allclose(pulled, 4 * fir_downsample(y), atol=1e-13)


def test_mistakes_are_named(key):
    for fir in ((1, 2, 1), (1, -1), (1,)):
        with pytest.raises(ValueError, match=r"`Upsample` got `fir=.*an even number"):
            Upsample(2, with_conv=False, fir=fir, key=key)
    with pytest.raises(ValueError, match=r"in_channels=2 and out_channels=3"):
        Downsample(2, 3, with_conv=False, key=key)

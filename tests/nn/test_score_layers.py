"""The blocks of NCSN++ against NumPy, and against the published code's numbers."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.nn import (
    Conv,
    FourierEmbedding,
    Linear,
    PixelAttention,
    ScoreBlock,
    positional_embedding,
)

from . import _plain_score as plain
from ._vectors import DATA


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


def randomise(module):
    """Every parameter drawn anew in double precision: none stays at nearly zero."""
    rng = np.random.default_rng(1)
    params, static = eqx.partition(module, eqx.is_array)
    params = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)
    return eqx.combine(params, static)


def state_of(module):
    """The layer's arrays by the names of its original, as the first module."""
    return {
        f"all_modules.0.{name}": place.layout.write(np.asarray(place.find(module)))
        for name, place in module.state_names().items()
    }


def plain_network(module, **options):
    defaults = {"activation": "swish", "skip_rescale": True}
    network = plain.PlainScore(state_of(module), **defaults | options)
    network.number = 0
    return network


@pytest.mark.parametrize("rescale", [True, False])
def test_attention_against_numpy(x64, key, rescale):
    attention = randomise(PixelAttention(12, rescale=rescale, key=key))
    x = normal(3, 5, 12)
    expected = plain_network(attention, skip_rescale=rescale).attention(np.asarray(x))
    np.testing.assert_allclose(attention(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(resample="up", fir=(1, 3, 3, 1)),
        dict(resample="down", fir=(1, 3, 3, 1)),
        dict(resample="up", activation="elu"),
        dict(resample="down", activation="relu", rescale=False),
        dict(out=16, activation="lrelu"),
        dict(kind="ddpm"),
        dict(kind="ddpm", out=16, rescale=False),
    ],
    ids=str,
)
@pytest.mark.parametrize("told", [True, False])
def test_block_against_numpy(x64, key, options, told):
    options = dict(options)
    out = options.pop("out", 8)
    block = randomise(ScoreBlock(8, out, 5, key=key, **options))
    x, embedding = normal(4, 6, 8), normal(5, seed=2)
    network = plain_network(
        block,
        activation=options.get("activation", "swish"),
        skip_rescale=options.get("rescale", True),
    )
    network.embedding = np.asarray(embedding) if told else None
    fir = options.get("fir")
    resample = {
        "up": lambda x: plain.upsample(x, fir),
        "down": lambda x: plain.downsample(x, fir),
        None: lambda x: x,
    }[options.get("resample")]
    got = block(embedding if told else None, x)
    np.testing.assert_allclose(
        got, network.block(np.asarray(x), resample), rtol=1e-10, atol=1e-10
    )


def test_the_published_block_agrees(key):
    """A block with a filter, whose first norm has 32 groups of five channels."""
    with np.load(DATA / "score_layers.npz") as file:
        vectors = dict(file)
    block = ScoreBlock(160, 8, 12, resample="down", fir=(1, 3, 3, 1), key=key)
    names = block.state_names()
    given = {n: vectors[f"block_param:{n}"] for n in names}
    assert {f"block_param:{n}" for n in names} == {
        n for n in vectors if n.startswith("block_param:")
    }
    block = eqx.tree_at(
        lambda b: [place.find(b) for place in names.values()],
        block,
        [jnp.asarray(p.layout.read(given[n])) for n, p in names.items()],
    )
    x = jnp.asarray(np.moveaxis(vectors["block_x"], 1, -1))
    got = jax.vmap(block)(jnp.asarray(vectors["block_temb"]), x)
    expected = np.moveaxis(vectors["block_y"], 1, -1)
    scale = np.abs(expected).max()
    np.testing.assert_allclose(got, expected, atol=1e-5 * scale)


def test_dropout_is_of_the_second_convolutions_input(key):
    """If all is dropped, only the bias of that convolution remains."""
    block = randomise(ScoreBlock(8, 8, 5, dropout=1.0, key=key))
    block = jax.tree.map(
        lambda a: a.astype(jnp.float32) if eqx.is_array(a) else a, block
    )
    x = normal(4, 4, 8).astype(jnp.float32)
    dropped = block(None, x, key=key)
    expected = (x + block.conv2.bias[None, None]) / np.sqrt(2).astype(np.float32)
    np.testing.assert_allclose(dropped, expected, rtol=1e-5)
    assert not np.allclose(block(None, x), expected)


@pytest.mark.parametrize("size", [4, 7, 16])
def test_positional_embedding(x64, size):
    for v in (0.0, 3.0, 999.0, 12.5):
        expected = plain.positional(v, size)
        np.testing.assert_allclose(
            positional_embedding(jnp.asarray(v), size), expected, atol=1e-12
        )


def test_the_published_features_agree():
    """The published code takes the frequencies in single precision: 1e-7 of 999."""
    with np.load(DATA / "score_layers.npz") as file:
        for size in (16, 7):
            ts = jnp.asarray(file["t"], jnp.float32)
            got = jnp.stack([positional_embedding(t, size) for t in ts])
            expected = file[f"timestep_embedding_{size}"]
            np.testing.assert_allclose(got, expected, atol=2e-4)


def test_fourier_features(x64, key):
    features = FourierEmbedding(5, scale=16.0, key=key)
    v = jnp.asarray(-1.3)
    waves = 2 * np.pi * np.asarray(features.frequencies, np.float64) * -1.3
    expected = np.concatenate([np.sin(waves), np.cos(waves)])
    np.testing.assert_allclose(features(v), expected, atol=1e-12)


def test_frequencies_have_their_scale_and_no_gradient(key):
    features = FourierEmbedding(4096, scale=16.0, key=key)
    # The standard error of a standard deviation of 4096 draws is 1.1 %.
    assert abs(float(jnp.std(features.frequencies)) / 16 - 1) < 0.05
    gradient = eqx.filter_grad(lambda f: jnp.sum(f(jnp.asarray(0.3))))(features)
    np.testing.assert_array_equal(gradient.frequencies, np.zeros(4096))


@pytest.mark.parametrize(
    "make, fan_average",
    [
        (lambda k, s: Linear(96, 160, fan_average=s, key=k), 128),
        (lambda k, s: Conv(64, 32, fan_average=s, key=k), 9 * 48),
    ],
)
def test_weights_start_as_published(key, make, fan_average):
    """Uniform, with the variance `s / fan_average`; 15,000 draws give it to 2 %."""
    for scale in (1.0, 0.1, 0.0):
        weight = np.asarray(make(key, scale).weight, np.float64)
        bound = np.sqrt(3 * (scale or 1e-10) / fan_average)
        assert 0.999 < np.abs(weight).max() / bound <= 1 + 1e-6
        assert abs(weight.var() / (bound**2 / 3) - 1) < 0.05
        assert abs(weight.mean()) < 0.03 * bound
        assert float(jnp.max(jnp.abs(make(key, scale).bias))) == 0


def test_mistakes_are_named(key):
    with pytest.raises(ValueError, match=r"kind='ddpm'` and `resample='up'`"):
        ScoreBlock(8, 8, 4, kind="ddpm", resample="up", key=key)
    with pytest.raises(ValueError, match=r"`kind='vgg'`; expected one of 'biggan'"):
        ScoreBlock(8, 8, 4, kind="vgg", key=key)
    for channels in (2, 132):
        with pytest.raises(ValueError, match=rf"a group norm of {channels} channels"):
            PixelAttention(channels, key=key)
    with pytest.raises(ValueError, match=r"`size=3`; expected at least 4"):
        positional_embedding(jnp.asarray(1.0), 3)

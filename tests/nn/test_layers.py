"""The layers against scipy, numpy and the formulas they are named after."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.signal import correlate2d

from softsde.nn import (
    Conv,
    FiLM,
    GroupNorm,
    Linear,
    SelfAttention,
    TimeEmbedding,
    patchify,
    unpatchify,
)


def normal(*shape, seed=0, dtype=np.float64):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def randomise(module):
    """Every parameter drawn anew, so that no zero initialisation hides a mistake."""
    rng = np.random.default_rng(1)
    params, static = eqx.partition(module, eqx.is_array)
    params = jax.tree.map(lambda p: jnp.asarray(rng.standard_normal(p.shape)), params)
    return eqx.combine(params, static)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
def test_conv_is_a_zero_padded_correlation(x64, key, kernel_size, stride):
    conv = Conv(2, 3, kernel_size=kernel_size, stride=stride, key=key)
    conv = randomise(conv)
    x = normal(8, 6, 2)
    weight = np.asarray(conv.weight)
    expected = np.stack(
        [
            conv.bias[o]
            + sum(
                correlate2d(x[..., i], weight[..., i, o], mode="same") for i in (0, 1)
            )
            for o in range(3)
        ],
        axis=-1,
    )[::stride, ::stride]
    np.testing.assert_allclose(conv(x), expected, atol=1e-12)


def test_linear_is_a_1x1_convolution(x64, key):
    linear = randomise(Linear(4, 5, key=key))
    conv = randomise(Conv(4, 5, kernel_size=1, key=key))
    conv = eqx.tree_at(
        lambda c: (c.weight, c.bias), conv, (linear.weight[None, None], linear.bias)
    )
    x = normal(6, 7, 4)
    np.testing.assert_allclose(linear(x), conv(x), atol=1e-12)


def test_layers_start_with_unit_variance(key):
    conv_key, linear_key = jax.random.split(key)
    x = normal(32, 32, 64, dtype=np.float32)
    # 65536 correlated outputs; the weights alone give a standard error of about 1 %.
    for layer in (Conv(64, 64, key=conv_key), Linear(64, 64, key=linear_key)):
        assert abs(float(jnp.var(layer(x)[1:-1, 1:-1])) - 1) < 0.1


def test_even_kernel_is_refused(key):
    with pytest.raises(ValueError, match=r"must be odd.*got 4\. Use 5"):
        Conv(1, 1, kernel_size=4, key=key)


@pytest.mark.parametrize("group_size", [1, 3, 12])
def test_group_norm_against_equinox(x64, key, group_size):
    norm = randomise(GroupNorm(12, group_size))
    theirs = eqx.nn.GroupNorm(12 // group_size, 12)
    theirs = eqx.tree_at(lambda n: (n.weight, n.bias), theirs, (norm.weight, norm.bias))
    x = 3 + 2 * normal(5, 7, 12)
    expected = jnp.moveaxis(theirs(jnp.moveaxis(x, -1, 0)), 0, -1)
    np.testing.assert_allclose(norm(x), expected, atol=1e-12)


def test_group_norm_of_a_large_mean(key):
    """One-pass variance in float32 would lose all digits of this one.

    Float32 numbers near 1e4 are 1e-3 apart: the mean is right to a few of those.
    """
    x = np.asarray(normal(16, 16, 8, dtype=np.float32))
    shifted = jnp.asarray(x + np.float32(1e4))
    exact = np.asarray(shifted, np.float64)
    exact = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5)
    np.testing.assert_allclose(GroupNorm(8)(shifted), exact, atol=5e-3)


def test_group_norm_of_bfloat16_is_computed_in_float32(key):
    norm = GroupNorm(16)
    x = 50 + normal(28, 28, 16, dtype=np.float32).astype(jnp.bfloat16)
    y = norm(x)
    assert y.dtype == jnp.bfloat16
    exact = norm(x.astype(jnp.float32)).astype(jnp.bfloat16)
    assert jnp.array_equal(y, exact)


def test_group_norm_takes_a_given_scale_and_shift(x64, key):
    plain = GroupNorm(8, 4, affine=False)
    x, (scale, shift) = (
        normal(4, 4, 8),
        normal(2, 8),
    )
    expected = plain(x) * scale[None, None] + shift[None, None]
    np.testing.assert_allclose(plain(x, scale, shift), expected, atol=1e-12)


def test_film_is_affine_in_the_embedding(x64, key):
    """`(1 + a) x + b`; its first weights give `a` and `b` unit variance."""
    film = FiLM(64, 300, key=key)
    embedding = jax.random.normal(key, (64,), jnp.float64)
    bias = jnp.linspace(-1.0, 1.0, 600)
    scale, shift = eqx.tree_at(lambda f: f.bias, film, bias)(embedding)
    a = np.asarray(embedding) @ np.asarray(film.weight, np.float64) + np.asarray(bias)
    np.testing.assert_allclose(scale, 1 + a[:300], rtol=1e-12)
    np.testing.assert_allclose(shift, a[300:], rtol=1e-12)
    new = jnp.concatenate(film(embedding)) - jnp.repeat(jnp.array([1.0, 0.0]), 300)
    wanted = float(jnp.mean(embedding**2))
    # 600 draws of a normal: four standard errors of their mean square.
    np.testing.assert_allclose(np.mean(new**2), wanted, rtol=4 * (2 / 600) ** 0.5)
    half = film(embedding.astype(jnp.bfloat16))
    assert {part.dtype for part in half} == {jnp.dtype(jnp.bfloat16)}


def test_group_size_must_divide():
    with pytest.raises(ValueError, match=r"group_size=8 for 12 channels"):
        GroupNorm(12, 8)


def test_attention_against_the_formula(x64, key):
    heads, size = 3, 4
    attention = randomise(SelfAttention(12, heads, group_size=4, key=key))
    x = normal(2, 5, 12)
    normed = np.asarray(attention.norm(x)).reshape(10, 12)
    qkv = normed @ np.asarray(attention.qkv.weight) + np.asarray(attention.qkv.bias)
    mixed = np.zeros((10, 12))
    for head in range(heads):
        q, k, v = (
            qkv[:, 12 * part + size * head : 12 * part + size * (head + 1)]
            for part in range(3)
        )
        scores = np.exp(q @ k.T / np.sqrt(size))
        mixed[:, size * head : size * (head + 1)] = (
            scores / scores.sum(1, keepdims=True)
        ) @ v
    mixed = mixed @ np.asarray(attention.out.weight) + np.asarray(attention.out.bias)
    expected = (x + mixed.reshape(x.shape)) / np.sqrt(2)
    np.testing.assert_allclose(attention(x), expected, atol=1e-12)


def test_number_of_heads_must_divide(key):
    with pytest.raises(ValueError, match=r"num_heads=5 for 16 channels"):
        SelfAttention(16, 5, key=key)


@pytest.mark.slow
def test_time_embedding_resolves_a_hundredth(key):
    """Features of times 0.01 apart differ by as much as unrelated ones do nearly."""
    embedding = TimeEmbedding(64, key=key)
    ts = jnp.linspace(0.0, 1.0, 101)
    features = jax.vmap(embedding)(ts)
    steps = jnp.linalg.norm(jnp.diff(features, axis=0), axis=1)
    typical = jnp.mean(jnp.linalg.norm(features[:, None] - features[None], axis=-1))
    assert float(jnp.min(steps)) > 0.2 * float(typical)


def test_patches_are_where_the_formula_says(key):
    x = normal(6, 4, 3, dtype=np.float32)
    y = patchify(x, 2)
    for (i, j), (a, b), k in [((0, 0), (0, 1), 2), ((2, 1), (1, 0), 1)]:
        assert y[i, j, (2 * a + b) * 3 + k] == x[2 * i + a, 2 * j + b, k]


@pytest.mark.parametrize("size", [1, 2, 4])
def test_unpatchify_inverts_patchify(key, size):
    x = normal(8, 12, 3, dtype=np.float32)
    assert jnp.array_equal(unpatchify(patchify(x, size), size), x)


def test_indivisible_patches_are_refused():
    with pytest.raises(ValueError, match=r"7x8 does not divide into 2x2 patches"):
        patchify(jnp.zeros((7, 8, 1)), 2)
    with pytest.raises(ValueError, match=r"6 channels .* multiple of 4"):
        unpatchify(jnp.zeros((2, 2, 6)), 2)

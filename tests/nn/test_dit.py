"""DiT: NumPy's numbers, what starts at zero, and the options of size."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.nn import DiT, DiTBlock, layer_norm, position_features
from softsde.nn._dit import attention

from . import _naive

SHAPE = (4, 6, 2)
SMALL = dict(width=8, depth=2, num_heads=2)

apply = eqx.filter_jit(lambda network, *args, **kwargs: network(*args, **kwargs))


def image(seed=0, dtype=np.float64, shape=SHAPE):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def close(found, expected):
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=1e-10 * abs(expected).max()
    )


def test_a_new_network_predicts_zero(key):
    x = image(dtype=np.float32)
    assert jnp.array_equal(
        apply(DiT(SHAPE, **SMALL, key=key), 0.3, x), jnp.zeros(SHAPE)
    )


def test_a_new_block_is_the_identity(key):
    block = DiTBlock(8, 2, key=key)
    x = image(dtype=np.float32, shape=(5, 8))
    assert jnp.array_equal(block(x[0], x), x)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_the_formula(x64, key, patch_size):
    """Against NumPy, on an image that is not square and with a condition."""
    network = DiT(SHAPE, **SMALL, patch_size=patch_size, condition_size=3, key=key)
    network = _naive.random_weights(network)
    x, vector = image(), np.array([1.0, -0.5, 0.2])
    told = vector @ np.asarray(network.condition.weight)
    expected = _naive.dit(network, 0.3, np.asarray(x), told)
    close(apply(network, jnp.asarray(0.3), x, jnp.asarray(vector)), expected)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [("float32", 1e-6), ("bfloat16", 0.02)]
)
def test_attention_below_double_precision(dtype, tolerance):
    """Against NumPy; `test_the_formula` has float64. bfloat16 has eight bits."""
    rng = np.random.default_rng(0)
    query, key, value = rng.standard_normal((3, 7, 2, 4)).astype(np.float32)
    given = (jnp.asarray(a, dtype) for a in (query, key, value))
    found = np.asarray(jax.jit(attention)(*given), np.float64)
    for head in range(2):
        weights = np.exp(query[:, head] @ key[:, head].T / 2.0)
        expected = weights / weights.sum(1, keepdims=True) @ value[:, head]
        np.testing.assert_allclose(found[:, head], expected, rtol=0, atol=tolerance)


def test_layer_norm(x64):
    x = image() + 10.0
    close(layer_norm(x), _naive.layer_norm(np.asarray(x)))


def test_places_are_told_apart():
    """No two patches have the same features, and neighbours are alike."""
    places = position_features(6, 9, 16)
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert np.min(distance + 10 * np.eye(54)) > 0.1
    assert distance[0, 1] < distance[0, 3] and distance[0, 9] < distance[0, 27]
    # Each frequency has a sine and a cosine of the row and of the column.
    np.testing.assert_allclose(np.sum(places**2, axis=1), 8.0)
    with pytest.raises(ValueError, match=r"multiple of 4.*got 6\."):
        position_features(6, 9, 6)


@pytest.mark.slow
@pytest.mark.parametrize("option", [dict(scan=False), dict(remat=True)])
def test_options_of_size_change_no_result(x64, key, option):
    x = image()

    @eqx.filter_jit
    @eqx.filter_value_and_grad
    def loss(network):
        return jnp.mean(jnp.sin(network(jnp.asarray(0.3), x)))

    def run(**options):
        network = DiT(SHAPE, **SMALL, **options, key=key)
        value, gradient = loss(_naive.random_weights(network))
        return value, jax.tree.leaves(gradient)

    value, gradient = run()
    again, gradient_again = run(**option)
    np.testing.assert_allclose(again, value, rtol=1e-12)
    for one, two in zip(gradient, gradient_again, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-9, atol=1e-13)
        assert float(jnp.max(jnp.abs(one))) > 1e-8  # no weight is idle


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_its_gradient_mixes_no_dtypes(key, dtype):
    """Tests forbid it, as a user may; each gradient has the dtype of its weight."""
    network = _naive.random_weights(
        DiT(SHAPE, **SMALL, compute_dtype=dtype, key=key), dtype=np.float32
    )
    x = jnp.ones(SHAPE)
    gradient = eqx.filter_grad(lambda n: jnp.sum(n(0.3, x) ** 2))(network)
    leaves = jax.tree.leaves(gradient)
    assert {leaf.dtype for leaf in leaves} == {np.dtype(np.float32)}
    assert max(float(jnp.abs(leaf).max()) for leaf in leaves) > 0


def test_bfloat16_is_float32_to_its_precision(key):
    plain = _naive.random_weights(DiT(SHAPE, **SMALL, key=key), dtype=np.float32)
    half = DiT(SHAPE, **SMALL, compute_dtype="bfloat16", key=key)
    half = _naive.random_weights(half, dtype=np.float32)
    x = image(dtype=np.float32)
    found, expected = apply(half, 0.3, x), apply(plain, 0.3, x)
    assert found.dtype == np.float32
    error = float(jnp.linalg.norm(found - expected) / jnp.linalg.norm(expected))
    assert 1e-4 < error < 0.05


@pytest.mark.slow
def test_dropout_needs_a_key_and_has_its_mean(x64, key):
    """Without a key there is none; the linear map behind it sees the right mean."""
    block = _naive.random_weights(DiTBlock(8, 2, dropout=0.5, key=key))
    block = eqx.tree_at(lambda b: b.qkv.weight, block, jnp.zeros((8, 24)))
    x = image(shape=(3, 8))
    plain = block(x[0], x)
    keys = jax.random.split(key, 4000)
    drawn = jax.jit(jax.vmap(lambda k: block(x[0], x, key=k)))(keys)
    spread = jnp.std(drawn, axis=0)
    assert float(jnp.min(spread)) > 0
    error = jnp.abs(jnp.mean(drawn, axis=0) - plain) / (spread / 4000**0.5)
    assert float(jnp.max(error)) < 4.5


def test_dropout_follows_the_key_alone(key):
    """Another key drops other features; `scan` makes no difference."""
    network = _naive.random_weights(
        DiT(SHAPE, **SMALL, dropout=0.5, key=key), dtype=np.float32
    )
    x = image(dtype=np.float32)
    one, two = (apply(network, 0.3, x, key=jax.random.key(i)) for i in (1, 2))
    assert float(jnp.max(jnp.abs(one - two))) > 1e-3
    # Compiled one by one, the blocks draw the same masks.
    unrolled = _naive.random_weights(
        DiT(SHAPE, **SMALL, dropout=0.5, scan=False, key=key), dtype=np.float32
    )
    again = apply(unrolled, 0.3, x, key=jax.random.key(1))
    np.testing.assert_allclose(again, one, rtol=1e-4, atol=1e-5)


def test_vmap_is_a_loop(key):
    network = _naive.random_weights(DiT(SHAPE, **SMALL, key=key), dtype=np.float32)
    ts = jnp.array([0.1, 0.9])
    xs = jnp.stack([image(seed, np.float32) for seed in range(2)])
    batched = jax.jit(jax.vmap(lambda t, x: network(t, x)))(ts, xs)
    looped = jnp.stack([apply(network, t, x) for t, x in zip(ts, xs, strict=True)])
    np.testing.assert_allclose(batched, looped, atol=2e-5)


def test_errors(key, as_a_user):
    with pytest.raises(ValueError, match="patch_size=4` for images of 4x6"):
        DiT(SHAPE, **SMALL, patch_size=4, key=key)
    with pytest.raises(ValueError, match="width=10` and `num_heads=2"):
        DiT(SHAPE, width=10, num_heads=2, key=key)
    with pytest.raises(ValueError, match="width=8` and `num_heads=3"):
        DiT(SHAPE, width=8, num_heads=3, key=key)
    with pytest.raises(ValueError, match="depth=0"):
        DiT(SHAPE, width=8, num_heads=2, depth=0, key=key)
    with pytest.raises(ValueError, match="compute_dtype='int8'"):
        DiT(SHAPE, **SMALL, compute_dtype="int8", key=key)
    network = DiT(SHAPE, **SMALL, key=key)
    with pytest.raises(ValueError, match="this DiT was made for images of shape"):
        network(0.5, jnp.zeros((6, 4, 2)))
    with pytest.raises(ValueError, match="made without conditions"):
        network(0.5, jnp.zeros(SHAPE), jnp.array(1))

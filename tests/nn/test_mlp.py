"""The multi-layer perceptron: what is zero, what is right, and that it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from softsde.nn import MLP


def normal(*shape, seed=0, dtype=np.float32):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), dtype)


def test_a_new_network_predicts_zero(key):
    network = MLP(3, key=key)
    assert jnp.array_equal(network(0.3, normal(3)), jnp.zeros(3))


def test_the_formula(x64, key):
    """By NumPy, from the weights alone."""
    network = MLP(3, width=8, depth=2, key=key)
    params, static = eqx.partition(network, eqx.is_array)
    rng = np.random.default_rng(1)
    params = jax.tree.map(
        lambda p: jnp.asarray(0.3 * rng.standard_normal(p.shape)), params
    )
    network = eqx.combine(params, static)
    x, t = normal(3, dtype=np.float64), 0.3

    silu = lambda v: v / (1 + np.exp(-v))
    linear = lambda layer, v: v @ np.asarray(layer.weight) + np.asarray(layer.bias)
    angles = t * np.geomspace(1, 256, 32)
    waves = np.sqrt(2) * np.concatenate([np.sin(angles), np.cos(angles)])
    time = network.embedding
    embedding = silu(linear(time.second, silu(linear(time.first, waves))))
    h = linear(network.first, np.asarray(x))
    for block in network.blocks:
        film = linear(block.film, embedding)
        inner = silu(linear(block.first, h) * (1 + film[:8]) + film[8:])
        h = (h + linear(block.second, inner)) / np.sqrt(2)
    expected = linear(network.last, silu(h))
    np.testing.assert_allclose(network(t, x), expected, rtol=1e-9)


def test_other_shapes_are_flattened(key):
    """In row-major order: the same weights, the same numbers."""
    flat, square = (
        eqx.tree_at(lambda n: n.last.weight, MLP(shape, key=key), normal(128, 4))
        for shape in (4, (2, 2))
    )
    x = normal(4)
    assert jnp.array_equal(flat(0.3, x), square(0.3, x.reshape(2, 2)).reshape(-1))


@pytest.mark.slow
def test_it_learns_a_posterior_mean_given_a_label(key):
    """Two Gaussians, told apart by their label: the exact denoiser is affine in x.

    x0 ~ N(m_c, s^2), x = x0 + t eta: E[x0 | x, c] = m_c + s^2 / (s^2 + t^2) (x - m_c).
    """
    means, s = jnp.array([[-1.0, 0.5], [1.0, 0.0]]), 0.5
    network = MLP(2, width=64, depth=2, num_classes=2, key=key)
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, 800))
    opt_state = optimiser.init(eqx.filter(network, eqx.is_array))
    exact = lambda t, x, c: means[c] + s**2 / (s**2 + t**2) * (x - means[c])

    def draw(key):
        label_key, time_key, x_key = jax.random.split(key, 3)
        c = jax.random.randint(label_key, (256,), 0, 2)
        t = jax.random.uniform(time_key, (256,), minval=0.1)
        x0_key, eta_key = jax.random.split(x_key)
        x0 = means[c] + s * jax.random.normal(x0_key, (256, 2))
        return c, t, x0, x0 + t[:, None] * jax.random.normal(eta_key, (256, 2))

    @eqx.filter_jit
    def train(network, opt_state):
        params, static = eqx.partition(network, eqx.is_array)

        def step(carry, key):
            params, opt_state = carry
            c, t, x0, x = draw(key)

            def loss(params):
                output = jax.vmap(eqx.combine(params, static))(t, x, c)
                return jnp.mean((output - x0) ** 2)

            gradients = jax.grad(loss)(params)
            # optax counts in integers, which strict promotion refuses.
            with jax.numpy_dtype_promotion("standard"):
                updates, opt_state = optimiser.update(gradients, opt_state)
            return (eqx.apply_updates(params, updates), opt_state), None

        keys = jax.random.split(key, 800)
        (params, _), _ = jax.lax.scan(step, (params, opt_state), keys)
        return eqx.combine(params, static)

    network = train(network, opt_state)
    c, t, _, x = draw(jax.random.key(1))
    error = jax.vmap(network)(t, x, c) - jax.vmap(exact)(t, x, c)
    # The data have a spread of about 0.5 around each mean, and the means are 2 apart.
    assert float(jnp.sqrt(jnp.mean(error**2))) < 0.05


@pytest.mark.parametrize("options", [dict(width=0), dict(depth=0)])
def test_bad_arguments(key, options):
    with pytest.raises(ValueError, match=r"expected positive numbers"):
        MLP(2, **options, key=key)


def test_a_batch_is_refused(key):
    with pytest.raises(ValueError, match=r"shape \(2,\); got \(5, 2\).*`jax.vmap`"):
        MLP(2, key=key)(0.5, jnp.zeros((5, 2)))

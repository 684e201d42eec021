"""Divergences against the trace of a Jacobian, and the variance that is claimed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.likelihood import ExactDivergence, HutchinsonDivergence

MATRIX = np.random.default_rng(0).normal(size=(6, 6))
SHAPE = (3, 2, 1)


def field(x):
    """Its Jacobian is `MATRIX` with row `i` times `cos(y_i)`."""
    return jnp.sin(jnp.asarray(MATRIX) @ x.reshape(-1)).reshape(x.shape)


def jacobian(x):
    return np.cos(MATRIX @ np.asarray(x).reshape(-1))[:, None] * MATRIX


@pytest.mark.parametrize("batch_size", [None, 4])
def test_exact(x64, key, batch_size):
    x = jax.random.normal(key, SHAPE)
    value, divergence = ExactDivergence(batch_size)(field, x, None)
    np.testing.assert_allclose(value, field(x), atol=1e-14)
    assert float(divergence) == pytest.approx(np.trace(jacobian(x)), abs=1e-12)


@pytest.mark.parametrize("distribution", ["rademacher", "gaussian"])
def test_hutchinson_is_unbiased_with_its_variance(x64, key, distribution):
    """20,000 estimates: their mean within four standard errors of the trace.

    Their variance within four standard errors of the formula's, by the fourth moment.
    """
    x_key, key = jax.random.split(key)
    x = jax.random.normal(x_key, SHAPE)
    estimator = HutchinsonDivergence(4, distribution)

    @jax.jit
    @jax.vmap
    def estimate(key):
        return estimator(field, x, estimator.probes(x, key))[1]

    number = 20_000
    drawn = np.asarray(estimate(jax.random.split(key, number)))
    away = drawn - np.trace(jacobian(x))
    assert abs(away.mean()) < 4 * away.std() / np.sqrt(number)
    both = jacobian(x) + jacobian(x).T
    if distribution == "rademacher":
        both = both - np.diag(np.diag(both))
    variance = (both**2).sum() / (2 * 4)
    assert abs((away**2).mean() - variance) < 4 * (away**2).std() / np.sqrt(number)


@pytest.mark.slow
def test_signs_are_exact_where_the_jacobian_is_diagonal(x64, key):
    estimator = HutchinsonDivergence()
    x = jax.random.normal(key, (5,))
    value, divergence = estimator(jnp.sin, x, estimator.probes(x, key))
    np.testing.assert_allclose(value, np.sin(x), atol=1e-14)
    assert float(divergence) == pytest.approx(np.cos(x).sum(), abs=1e-12)


@pytest.mark.parametrize("divergence", [ExactDivergence(), HutchinsonDivergence(3)])
def test_the_field_is_evaluated_once(divergence, key):
    calls = []

    def counted(x):
        jax.debug.callback(lambda _: calls.append(1), x[0])
        return jnp.sin(x)

    x = jnp.ones(4)
    jax.block_until_ready(divergence(counted, x, divergence.probes(x, key)))
    jax.effects_barrier()
    assert len(calls) == 1


def test_mistakes_are_named(as_a_user, key):
    with pytest.raises(ValueError, match="num_probes=0"):
        HutchinsonDivergence(0)
    with pytest.raises(ValueError, match="'rademacher'"):
        HutchinsonDivergence(distribution="uniform")  # pyright: ignore
    with pytest.raises(ValueError, match="batch_size=-1"):
        ExactDivergence(-1)
    with pytest.raises(ValueError, match="key"):
        HutchinsonDivergence().probes(jnp.ones(3), None)

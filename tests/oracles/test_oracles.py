"""Oracles against dense linear algebra and plain sums written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import softsde as ss

SHAPE = (3, 2, 1)


@pytest.fixture
def process(x64):
    return ss.Process(
        ss.corruptions.GaussianBlur(SHAPE, 4),
        ss.schedules.Geometric(0.4, 2.0),
        ss.schedules.Geometric(0.1, 0.6),
    )


def dense(process, t):
    rows = process.corruption.matrix(float(process.level(t)), SHAPE[0])
    columns = process.corruption.matrix(float(process.level(t)), SHAPE[1])
    return np.kron(rows, columns)


def test_gaussian(process, key):
    rng = np.random.default_rng(1)
    root = rng.normal(size=(6, 6))
    mean, covariance = rng.normal(size=SHAPE), root @ root.T
    oracle = ss.oracles.GaussianOracle(mean, covariance)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        joint = c @ covariance @ c.T + sigma**2 * np.eye(6)
        m = c @ mean.reshape(-1)
        gain = covariance @ c.T @ np.linalg.inv(joint)
        posterior = mean.reshape(-1) + gain @ (x.reshape(-1) - m)
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            posterior,
            atol=1e-10,
        )
        expected = scipy.stats.multivariate_normal(m, joint).logpdf(x.reshape(-1))
        assert float(oracle.log_prob(process, t, jnp.asarray(x))) == pytest.approx(
            expected, abs=1e-10
        )


def test_empirical(process, key):
    data = np.random.default_rng(2).normal(size=(7, *SHAPE))
    oracle = ss.oracles.EmpiricalOracle(data)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        centres = data.reshape(7, -1) @ c.T
        logits = -((x.reshape(-1) - centres) ** 2).sum(1) / (2 * sigma**2)
        weights = scipy.special.softmax(logits)
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            weights @ data.reshape(7, -1),
            atol=1e-12,
        )
        expected = scipy.special.logsumexp(
            [
                scipy.stats.multivariate_normal(m, sigma**2 * np.eye(6)).logpdf(
                    x.reshape(-1)
                )
                for m in centres
            ]
        ) - np.log(7)
        got = oracle.log_prob(process, t, jnp.asarray(x))
        assert float(got) == pytest.approx(expected, abs=1e-10)
        from_denoiser = process.score(
            t, jnp.asarray(x), oracle.denoiser(process)(t, jnp.asarray(x))
        )
        np.testing.assert_allclose(
            from_denoiser, oracle.score(process, t, jnp.asarray(x)), atol=1e-9
        )


def test_mistakes_are_named():
    with pytest.raises(ValueError, match=r"expected \(3, 3\)"):
        ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(2))
    with pytest.raises(ValueError, match="stacked in front"):
        ss.oracles.EmpiricalOracle(jnp.zeros(3))

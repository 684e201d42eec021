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
        ss.schedules.Geometric(0.3, 2.0),
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


def test_mixture(process, key):
    rng = np.random.default_rng(3)
    weights = np.array([0.2, 0.5, 0.3])
    means = rng.normal(size=(3, *SHAPE))
    roots = rng.normal(size=(3, 6, 6))
    covariances = roots @ roots.transpose(0, 2, 1)
    # A singular one too: data on a plane.
    covariances[1] = roots[1, :, :2] @ roots[1, :, :2].T
    oracle = ss.oracles.MixtureOracle(2 * weights, means, covariances)
    x = np.asarray(jax.random.normal(key, SHAPE))
    for t in (0.0, 0.4, 1.0):
        c, sigma = dense(process, t), float(process.sigma(t))
        log_densities, posteriors = [], []
        for weight, mean, covariance in zip(weights, means, covariances, strict=True):
            joint = c @ covariance @ c.T + sigma**2 * np.eye(6)
            m = c @ mean.reshape(-1)
            gain = covariance @ c.T @ np.linalg.inv(joint)
            posteriors.append(mean.reshape(-1) + gain @ (x.reshape(-1) - m))
            normal = scipy.stats.multivariate_normal(m, joint)
            log_densities.append(np.log(weight) + normal.logpdf(x.reshape(-1)))
        np.testing.assert_allclose(
            oracle.posterior_mean(process, t, jnp.asarray(x)).reshape(-1),
            scipy.special.softmax(log_densities) @ np.stack(posteriors),
            atol=1e-10,
        )
        got = oracle.log_prob(process, t, jnp.asarray(x))
        expected = scipy.special.logsumexp(log_densities)
        assert float(got) == pytest.approx(expected, abs=1e-10)
        from_denoiser = process.score(
            t, jnp.asarray(x), oracle.denoiser(process)(t, jnp.asarray(x))
        )
        np.testing.assert_allclose(
            from_denoiser, oracle.score(process, t, jnp.asarray(x)), atol=1e-10
        )


@pytest.mark.parametrize("kind", ["mixture", "gaussian", "empirical"])
def test_draws_have_the_moments_of_the_data(x64, key, kind):
    """The first two, each within four standard errors of 200,000 draws."""
    weights = np.array([0.25, 0.75])
    means = np.array([[-2.0, 1.0], [1.0, 0.0]])
    covariances = np.array([[[0.5, 0.2], [0.2, 0.3]], [[1.0, -1.0], [-1.0, 1.0]]])
    if kind == "gaussian":
        weights, means, covariances = np.ones(1), means[:1], covariances[:1]
        oracle = ss.oracles.GaussianOracle(means[0], covariances[0])
    elif kind == "empirical":
        means = np.array([[-2.0, 1.0], [1.0, 0.0], [0.5, 0.3]])
        weights, covariances = np.full(3, 1 / 3), np.zeros((3, 2, 2))
        oracle = ss.oracles.EmpiricalOracle(means)
    else:
        oracle = ss.oracles.MixtureOracle(weights, means, covariances)
    number = 200_000
    draws = np.asarray(jax.vmap(oracle.sample)(jax.random.split(key, number)))
    mean = weights @ means
    second = np.einsum("k,kij->ij", weights, covariances)
    second += np.einsum("k,ki,kj->ij", weights, means, means)
    deviations = draws.std(0) / np.sqrt(number)
    assert np.all(np.abs(draws.mean(0) - mean) < 4 * deviations)
    products = draws[:, :, None] * draws[:, None, :]
    deviations = products.std(0) / np.sqrt(number)
    assert np.all(np.abs(products.mean(0) - second) < 4 * deviations)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="one weight a component"):
        ss.oracles.MixtureOracle([1.0], jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"expected \(2, 3, 3\)"):
        ss.oracles.MixtureOracle([1.0, 1.0], jnp.zeros((2, 3)), jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match="positive `weights`"):
        ss.oracles.MixtureOracle([1.0, 0.0], jnp.zeros((2, 3)), jnp.zeros((2, 3, 3)))
    with pytest.raises(ValueError, match=r"expected \(3, 3\)"):
        ss.oracles.GaussianOracle(jnp.zeros(3), jnp.eye(2))
    with pytest.raises(ValueError, match="stacked in front"):
        ss.oracles.EmpiricalOracle(jnp.zeros(3))

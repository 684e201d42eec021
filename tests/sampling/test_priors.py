"""Priors against the moments of corrupted data and SciPy's densities."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import softsde as ss

SHAPE = (3, 4, 1)


@pytest.fixture
def process(x64):
    return ss.soft_blur(SHAPE, max_blur=3.0, sigma_max=0.3)


@pytest.fixture
def data(x64):
    return np.random.default_rng(0).uniform(size=(200, *SHAPE))


def ended(process, data):
    out = jax.vmap(lambda x: process.apply(1.0, x))(jnp.asarray(data))
    return np.asarray(out).reshape(len(data), -1)


def covariance(process, data):
    return np.cov(ended(process, data).T) + 0.3**2 * np.eye(12)


def test_its_moments_are_those_of_corrupted_data(process, data):
    prior = ss.GaussianPrior.fit(process, data, rank=12)
    factors = np.asarray(prior.factors).reshape(12, -1)
    np.testing.assert_allclose(
        prior.mean.reshape(-1), ended(process, data).mean(0), atol=1e-12
    )
    np.testing.assert_allclose(
        factors.T @ factors + 0.3**2 * np.eye(12), covariance(process, data), atol=1e-12
    )


def test_log_density(process, data, key):
    prior = ss.GaussianPrior.fit(process, data, rank=12)
    x = jax.random.normal(key, SHAPE)
    truth = scipy.stats.multivariate_normal(
        ended(process, data).mean(0), covariance(process, data)
    )
    expected = truth.logpdf(np.asarray(x).reshape(-1))
    assert float(prior.log_prob(x)) == pytest.approx(expected, abs=1e-9)


def test_few_directions_are_enough(process, data):
    """The default drops directions a hundred times smaller than the noise, no more."""
    prior = ss.GaussianPrior.fit(process, data)
    assert 1 <= prior.factors.shape[0] < 12
    factors = np.asarray(prior.factors).reshape(prior.factors.shape[0], -1)
    lost = covariance(process, data) - (factors.T @ factors + 0.3**2 * np.eye(12))
    assert np.linalg.norm(lost, 2) <= (1e-2 * 0.3) ** 2


def test_draws_have_its_moments(process, data, key):
    """Mahalanobis distances of 4,000 draws: mean 12, four standard errors."""
    prior = ss.GaussianPrior.fit(process, data, rank=12)
    drawn = jax.vmap(prior.sample)(jax.random.split(key, 4000)).reshape(4000, -1)
    away = np.asarray(drawn) - ended(process, data).mean(0)
    white = np.linalg.solve(covariance(process, data), away.T)
    distances = (away.T * white).sum(0)
    assert distances.mean() == pytest.approx(12, abs=4 * np.sqrt(24 / 4000))
    assert distances.var() == pytest.approx(24, rel=0.2)


def test_mistakes_are_named(process, data):
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        ss.GaussianPrior.fit(process, data[:1])
    with pytest.raises(ValueError, match="not finite"):
        ss.GaussianPrior.fit(process, data * np.nan)


def test_bytes_are_refused(as_a_user, process, data):
    with pytest.raises(TypeError, match=r"uint8.*/ 255"):
        ss.GaussianPrior.fit(process, np.uint8(255 * data))


def test_fewer_samples_than_pixels(process, data):
    """The same distribution from either of the two matrix products."""
    few = data[:7]
    prior = ss.GaussianPrior.fit(process, few, rank=6)
    factors = np.asarray(prior.factors).reshape(6, -1)
    np.testing.assert_allclose(
        factors.T @ factors, np.cov(ended(process, few).T), atol=1e-12
    )


def test_the_empirical_prior_is_the_law_of_corrupted_data(process, data, key):
    """With all directions kept, its density is the oracle's at the end of time."""
    prior = ss.EmpiricalPrior.fit(process, data, rank=12)
    oracle = ss.oracles.EmpiricalOracle(data)
    x = jax.random.normal(key, SHAPE)
    expected = oracle.log_prob(process, 1.0, x)
    assert float(prior.log_prob(x)) == pytest.approx(float(expected), abs=1e-9)


@pytest.mark.slow
def test_draws_of_the_empirical_prior(process, data, key):
    """Each image as often as any: chi-squared of 3 degrees of freedom, 16.3 at 1e-3.

    Noise far smaller than the gaps between four images shows which one was drawn.
    """
    quiet = ss.soft_blur(SHAPE, max_blur=3.0, sigma_min=1e-5, sigma_max=1e-4)
    prior = ss.EmpiricalPrior.fit(quiet, data[:4])
    drawn = jax.vmap(prior.sample)(jax.random.split(key, 400)).reshape(400, -1)
    gaps = ((np.asarray(drawn)[:, None] - ended(quiet, data[:4])[None]) ** 2).sum(-1)
    assert np.sqrt(gaps.min(1)).max() < 1e-3
    counts = np.bincount(gaps.argmin(1), minlength=4)
    assert ((counts - 100) ** 2 / 100).sum() < 16.3


def test_the_exact_prior_is_the_oracle_at_the_end(process, data, key):
    """Its density is a mixture's about the corrupted data, and so are its draws."""
    prior = ss.ExactPrior(ss.oracles.EmpiricalOracle(data[:4]), process)
    x = jax.random.normal(key, SHAPE)
    centres = ended(process, data[:4])
    normals = [scipy.stats.multivariate_normal(c, 0.3**2 * np.eye(12)) for c in centres]
    densities = [normal.pdf(np.asarray(x).reshape(-1)) for normal in normals]
    expected = np.log(np.mean(densities))
    assert float(prior.log_prob(x)) == pytest.approx(expected, abs=1e-9)
    number = 4000
    drawn = jax.vmap(prior.sample)(jax.random.split(key, number)).reshape(number, -1)
    away = np.asarray(drawn) - centres.mean(0)
    variance = centres.var(0) + 0.3**2
    assert np.abs(away.mean(0) / np.sqrt(variance / number)).max() < 4
    assert np.abs((away**2).mean(0) / variance - 1).max() < 4 * np.sqrt(2 / number)


COLOUR = (3, 2, 3)


@pytest.fixture
def pictures(x64):
    return np.random.default_rng(4).uniform(size=(50, *COLOUR))


def flat_covariance(pictures):
    """Writes it for (pixel, channel): s^2 within a channel, and the noise."""
    spread = pictures.mean((1, 2)).var(0, ddof=1)
    return np.kron(np.ones((6, 6)), np.diag(spread)) + 0.3**2 * np.eye(18)


def test_the_flat_colour_is_the_papers_gaussian(pictures, key):
    """Appendix D: the density of SciPy with the covariance written out."""
    process = ss.soft_blur(COLOUR, max_blur=3.0, sigma_max=0.3)
    prior = ss.sampling.FlatColourPrior.fit(process, pictures)
    mean = np.tile(pictures.mean((0, 1, 2)), 6)
    truth = scipy.stats.multivariate_normal(mean, flat_covariance(pictures))
    for x in jax.random.normal(key, (3, *COLOUR)):
        expected = truth.logpdf(np.asarray(x).reshape(-1))
        assert float(prior.log_prob(x)) == pytest.approx(expected, rel=1e-11)


def test_draws_of_the_flat_colour_have_its_moments(pictures, key):
    """Mahalanobis distances of 4,000 draws: mean 18, four standard errors."""
    process = ss.soft_blur(COLOUR, max_blur=3.0, sigma_max=0.3)
    prior = ss.sampling.FlatColourPrior.fit(process, pictures)
    drawn = jax.vmap(prior.sample)(jax.random.split(key, 4000)).reshape(4000, -1)
    away = np.asarray(drawn) - np.tile(pictures.mean((0, 1, 2)), 6)
    white = np.linalg.solve(flat_covariance(pictures), away.T)
    distances = (away.T * white).sum(0)
    assert distances.mean() == pytest.approx(18, abs=4 * np.sqrt(36 / 4000))
    # One colour for all pixels: without the noise they are equal.
    quiet = ss.soft_blur(COLOUR, max_blur=3.0, sigma_min=1e-9, sigma_max=1e-8)
    one = np.asarray(ss.sampling.FlatColourPrior.fit(quiet, pictures).sample(key))
    assert np.ptp(one, axis=(0, 1)).max() < 1e-6 < np.ptp(one)


def test_the_flat_colour_needs_images(pictures, data, process):
    fit = ss.sampling.FlatColourPrior.fit
    with pytest.raises(ValueError, match=r"outside the process's \[0\.0, 1\.0\]"):
        fit(process, data, time=1.5)
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        fit(process, data[:1])
    with pytest.raises(ValueError, match="not finite"):
        fit(process, data * np.nan)


def test_the_flat_colour_of_vectors_is_refused(as_a_user, process, data):
    with pytest.raises(ValueError, match=r"got shape \(200, 12\)"):
        ss.sampling.FlatColourPrior.fit(process, data.reshape(200, 12))

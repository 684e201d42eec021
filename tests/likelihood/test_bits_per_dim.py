"""Bits a dimension against discrete probabilities that are known."""

import itertools

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import softsde as ss
from softsde.likelihood import dequantise

LEVELS = 4


class TablePrior(ss.AbstractPrior):
    """A density that is constant on each cell of a grid: a table of probabilities."""

    table: jnp.ndarray
    low: float
    high: float
    process: ss.Process
    time: float = 1.0

    def sample(self, key):
        return jnp.zeros(2)

    def log_prob(self, x):
        width = (self.high - self.low) / self.table.shape[0]
        i, j = jnp.floor((x - self.low) / width).astype(int)
        return jnp.log(self.table[i, j]) - 2 * np.log(width)


def still():
    """A process that stands still: the flow's density is the prior's."""
    return ss.Process(
        ss.corruptions.Identity(),
        ss.schedules.Constant(0.0),
        ss.schedules.Constant(0.1),
    )


def nothing():
    """A denoiser of it, whatever it says."""
    return ss.FunctionDenoiser(lambda t, x: jnp.zeros_like(x), still())


#: There is nothing to integrate.
ONE_STEP = {
    "solver": diffrax.Euler(),
    "stepsize_controller": diffrax.ConstantStepSize(),
    "dt0": 1.0,
}


def test_a_density_constant_on_cells_costs_what_shannon_says(x64, key):
    """Each draw of each image, to rounding: the bound is tight."""
    low, high = -1.0, 1.0
    table = np.random.default_rng(0).uniform(0.1, 1.0, size=(LEVELS, LEVELS))
    table /= table.sum()
    prior = TablePrior(jnp.asarray(table), low, high, still())

    @eqx.filter_jit
    @jax.vmap
    def run(image, key):
        return ss.bits_per_dim(
            nothing(),
            image,
            prior=prior,
            levels=LEVELS,
            data_range=(low, high),
            num_draws=8,
            key=key,
            **ONE_STEP,
        )

    indices = np.stack(np.meshgrid(range(LEVELS), range(LEVELS), indexing="ij"), -1)
    indices = indices.reshape(-1, 2)
    images = low + (high - low) * indices / (LEVELS - 1)
    found = run(jnp.asarray(images), jax.random.split(key, len(images)))
    expected = -np.log2(table[indices[:, 0], indices[:, 1]]) / 2
    np.testing.assert_allclose(found.value, expected, atol=1e-12)
    np.testing.assert_allclose(found.log_mean_exp, expected, atol=1e-12)
    assert np.ptp(np.asarray(found.log_probs), axis=1).max() < 1e-12


@pytest.mark.slow
def test_uniform_bytes_cost_eight_bits(key):
    """The published convention, (255 x + U) / 256, in single precision."""
    prior = TablePrior(jnp.full((1, 1), 1.0), 0.0, 1.0, still())
    images = jax.random.randint(key, (4, 2), 0, 256) / 255
    run = lambda image, key: ss.bits_per_dim(
        nothing(), image, prior=prior, key=key, **ONE_STEP
    )
    found = jax.jit(jax.vmap(run))(images, jax.random.split(key, 4))
    np.testing.assert_allclose(found.value, 8, atol=1e-6)


WEIGHTS = np.array([0.3, 0.7])
MEANS = np.array([0.2, 0.75])
DEVIATIONS = np.array([0.04, 0.15])


def brightness(low, high):
    """A mixture on a line, given in [0, 1], moved to `[low, high]`; and its process."""
    scale = high - low
    oracle = ss.oracles.MixtureOracle(
        WEIGHTS,
        low + scale * MEANS[:, None],
        (scale * DEVIATIONS[:, None, None]) ** 2,
    )
    return ss.ve(0.02 * scale, 2.0 * scale), oracle


def spread():
    """Standard deviations of the components at time 0."""
    return np.sqrt(DEVIATIONS**2 + 0.02**2)


def cost(low, high, levels, num_draws):
    process, oracle = brightness(low, high)
    denoiser, prior = oracle.denoiser(process), ss.ExactPrior(oracle, process)

    @eqx.filter_jit
    @jax.vmap
    def run(image, key):
        return ss.bits_per_dim(
            denoiser,
            image,
            prior=prior,
            levels=levels,
            data_range=(low, high),
            num_draws=num_draws,
            solver=diffrax.Dopri8(),
            rtol=1e-10,
            atol=1e-10,
            key=key,
        )

    images = low + (high - low) * np.arange(levels)[:, None] / (levels - 1)
    return run(jnp.asarray(images), jax.random.split(jax.random.key(5), levels))


@pytest.mark.slow
def test_the_two_bounds_on_a_mixture(x64):
    """Against the mixture's own probabilities of the cells, by its distribution.

    The mean over 256 draws must agree with the integral of the log density over the
    cell, the logarithm of the mean with the log of the integral: within four standard
    errors, of which Jensen's gap of the widest cells is many times as much.
    """
    levels, number = 8, 256
    found = cost(0.0, 1.0, levels, number)
    edges = np.arange(levels + 1) / levels
    normals = scipy.stats.norm(MEANS, spread())
    below = normals.cdf(edges[:, None]) @ WEIGHTS
    true_bits = -np.log2(np.diff(below))

    def log_density(v):
        return np.log(normals.pdf(v) @ WEIGHTS)

    averages = np.array(
        [
            scipy.integrate.quad(log_density, a, b, epsabs=1e-12)[0] * levels
            for a, b in itertools.pairwise(edges)
        ]
    )
    mean_bits = -(averages - np.log(levels)) / np.log(2)
    values, tight = np.asarray(found.value), np.asarray(found.log_mean_exp)
    drawn = np.asarray(found.log_probs)
    error = drawn.std(1) / np.sqrt(number) / np.log(2)
    assert np.all(np.abs(values - mean_bits) < 4 * error)
    weights = np.exp(drawn - drawn.max(1, keepdims=True))
    error = weights.std(1) / weights.mean(1) / np.sqrt(number) / np.log(2)
    assert np.all(np.abs(tight - true_bits) < 4 * error)
    assert np.all(mean_bits > true_bits) and np.all(values > tight)
    assert np.max((mean_bits - true_bits) / error) > 20


@pytest.mark.slow
def test_units_do_not_matter(x64):
    """The same bits in [0, 1] and in [-1, 1], with the process in the same units."""
    one, other = cost(0.0, 1.0, 8, 4), cost(-1.0, 1.0, 8, 4)
    np.testing.assert_allclose(one.value, other.value, atol=1e-8)
    # The density itself is in other units.
    np.testing.assert_allclose(
        one.log_probs, np.asarray(other.log_probs) + np.log(2), atol=1e-8
    )


def test_dequantised_values_are_uniform_on_their_cells(x64, key):
    """Kolmogorov-Smirnov over 4,000 draws of each byte, at 1e-4 each: 4 of them."""
    bytes_ = jnp.array([0, 1, 128, 255])
    image = bytes_ / 255
    draw = lambda key: dequantise(image, key=key)
    drawn = np.asarray(jax.vmap(draw)(jax.random.split(key, 4000)))
    places = 256 * drawn - np.asarray(bytes_)
    assert places.min() >= 0 and places.max() < 1
    for column in places.T:
        assert scipy.stats.kstest(column, "uniform").pvalue > 1e-4
    assert np.all(np.abs(np.corrcoef(places.T) - np.eye(4)) < 4 / np.sqrt(4000))


@pytest.mark.slow
def test_an_image_as_it_is(x64, key):
    prior = TablePrior(jnp.full((2, 2), 0.25), 0.0, 1.0, still())
    image = jnp.array([0.123, 0.9])
    found = ss.bits_per_dim(
        nothing(),
        image,
        prior=prior,
        levels=2,
        dequantise=False,
        key=key,
        **ONE_STEP,
    )
    assert float(found.value) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.slow
def test_an_estimated_divergence_gives_no_tight_bound(key):
    prior = TablePrior(jnp.full((1, 1), 1.0), 0.0, 1.0, still())
    found = ss.bits_per_dim(
        nothing(),
        jnp.zeros(2),
        prior=prior,
        divergence="hutchinson",
        num_draws=2,
        key=key,
        **ONE_STEP,
    )
    assert found.log_mean_exp is None
    assert float(found.value) == pytest.approx(8, abs=1e-6)


def test_mistakes_are_named(key):
    def run(**options):
        image = jnp.zeros(2)
        prior = TablePrior(jnp.full((1, 1), 1.0), 0.0, 1.0, still())
        return ss.bits_per_dim(nothing(), image, prior=prior, key=key, **options)

    with pytest.raises(ValueError, match="levels=1"):
        run(levels=1)
    with pytest.raises(ValueError, match=r"data_range=\(1.0, 0.0\)"):
        run(data_range=(1.0, 0.0))
    with pytest.raises(ValueError, match="num_draws=0"):
        run(num_draws=0)
    with pytest.raises(ValueError, match="num_draws=3"):
        run(num_draws=3, dequantise=False)
    with pytest.raises(eqx.EquinoxRuntimeError, match="off the grid of 256"):
        dequantise(jnp.array([0.001]), key=key)
    with pytest.raises(eqx.EquinoxRuntimeError, match=r"from 0\.0 to 1\.0"):
        dequantise(jnp.array([-1.0]), key=key)
    with pytest.raises(eqx.EquinoxRuntimeError, match="off the grid of 2 values"):
        dequantise(jnp.array([2.0]), levels=2, key=key)

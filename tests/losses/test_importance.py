"""Times by importance: unbiased whatever was seen, and of less variance."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.losses import BatchLosses, ImportanceTimes, batch_losses

BINS = 8


def profile(t):
    """A loss of time alone, whose integral is 1."""
    return 7 * np.exp(-7 * t) / (1 - np.exp(-7))


def told(sampler, t, process=None, losses=None):
    """The sampler after it has seen the profile at times `t`."""
    t = jnp.asarray(t)
    losses = jnp.asarray(profile(np.asarray(t))) if losses is None else losses
    each = BatchLosses(losses, t, jnp.ones_like(t))
    return update(sampler, ss.ve() if process is None else process, each)


# Jitted, for many small steps would be compiled one by one.
update = eqx.filter_jit(lambda sampler, process, each: sampler.update(process, each))
chances = eqx.filter_jit(lambda sampler: sampler.probabilities)
draw = eqx.filter_jit(lambda sampler, n, key: sampler.draw(ss.ve(), n, key=key))


@pytest.fixture
def sampler(x64):
    """It has seen the profile, evenly, forty times a bin."""
    times = (np.arange(40 * BINS) + 0.5) / (40 * BINS)
    return told(ImportanceTimes(BINS, low_discrepancy=False), times)


def probabilities():
    """The root mean square of the profile over each bin, in closed form."""
    edges = np.linspace(0, 1, BINS + 1)
    scale = (7 / (1 - np.exp(-7))) ** 2
    squares = scale * -np.diff(np.exp(-14 * edges)) / 14 * BINS
    return 0.9 * np.sqrt(squares) / np.sqrt(squares).sum() + 0.1 / BINS


def test_bins_have_the_root_mean_square_of_the_loss(sampler):
    # The midpoints of forty parts of a bin: their mean square is off by 1e-3 of itself.
    np.testing.assert_allclose(chances(sampler), probabilities(), rtol=2e-3)
    # Times have this density, and the weights are its inverse.
    times, weights = draw(sampler, 200_000, jax.random.key(1))
    p = np.asarray(chances(sampler))
    counts = np.histogram(times, BINS, (0, 1))[0]
    z = (counts - 200_000 * p) / np.sqrt(200_000 * p * (1 - p))
    assert np.abs(z).max() < 4
    index = np.minimum((np.asarray(times) * BINS).astype(int), BINS - 1)
    np.testing.assert_allclose(weights, 1 / (BINS * p[index]), rtol=1e-12)
    assert float(jnp.max(weights)) <= 10.0, "at most the inverse of the uniform share"


def test_the_weighted_mean_is_unbiased_and_of_less_variance(sampler):
    """Its variance is the integral of f^2/p less the square of the mean, which is 1."""
    number, batch = 20_000, 4
    keys = jax.random.split(jax.random.key(2), number)

    def mean(key):
        times, weights = sampler.draw(ss.ve(), batch, key=key)
        losses = 7 * jnp.exp(-7 * times) / (1 - np.exp(-7))
        return BatchLosses(losses, times, weights).mean

    means = np.asarray(jax.jit(jax.vmap(mean))(keys))
    edges = np.linspace(0, 1, BINS + 1)
    squares = (7 / (1 - np.exp(-7))) ** 2 * -np.diff(np.exp(-14 * edges)) / 14
    p = np.asarray(chances(sampler))
    variance = (np.sum(squares / (BINS * p)) - 1) / batch
    uniform = (squares.sum() - 1) / batch
    assert variance < 0.15 * uniform
    error = np.sqrt(variance / number)
    assert abs(means.mean() - 1) < 4 * error
    # The relative error of a variance from its fourth moment.
    spread = np.std((means - 1) ** 2) / np.sqrt(number)
    assert abs(means.var() - variance) < 4 * spread


def test_spread_times_integrate_the_density_better(sampler):
    """The mean of the weights, an integral of 1, by one shifted grid of the batch."""
    even = ImportanceTimes(BINS)
    even = eqx.tree_at(
        lambda s: (s.squares, s.weights), even, (sampler.squares, sampler.weights)
    )
    keys = jax.random.split(jax.random.key(3), 500)
    errors = {}
    for name, each in (("independent", sampler), ("spread", even)):
        drawn = jax.vmap(lambda k, each=each: draw(each, 32, k)[1])(keys)
        means = np.asarray(drawn).mean(1)
        assert abs(means.mean() - 1) < 4 * means.std() / np.sqrt(500)
        errors[name] = means.std()
    assert errors["spread"] < 0.3 * errors["independent"]


def test_times_are_uniform_until_every_bin_was_seen_ten_times(x64):
    sampler = ImportanceTimes(2)
    sampler = told(sampler, [0.1] * 30 + [0.9] * 9)
    np.testing.assert_array_equal(chances(sampler), [0.5, 0.5])
    sampler = told(sampler, [0.9])
    roots = profile(np.array([0.1, 0.9]))
    expected = 0.9 * roots / roots.sum() + 0.05
    np.testing.assert_allclose(chances(sampler), expected, rtol=1e-12)


def test_the_past_is_forgotten_at_the_given_rate(x64):
    """A bin that saw 100 losses of 1 and then n of 2 has the mean 1 + 3 (1 - d^n)."""
    sampler = ImportanceTimes(2, decay=0.95, uniform=1e-12)
    start = told(sampler, [0.2] * 100 + [0.7] * 100, losses=jnp.ones(200))
    later = told(start, [0.2] * 7, losses=jnp.full(7, 2.0))
    past = 1 - 0.95**100
    mean = (0.95**7 * past + 4 * (1 - 0.95**7)) / (0.95**7 * past + 1 - 0.95**7)
    expected = np.sqrt(mean) / (1 + np.sqrt(mean))
    assert float(chances(later)[0]) == pytest.approx(expected, rel=1e-10)


def test_it_serves_a_batch_on_the_times_of_its_process(x64, key):
    """Losses of the batch are those of the loss, at times within [t0, t1)."""
    process = ss.rectified_flow(t0=0.2)
    times = (np.arange(100) + 0.5) / 125 + 0.2
    sampler = told(ImportanceTimes(4), times, process)
    x0 = jax.random.normal(key, (64, 3))
    loss = ss.losses.CleanPrediction()
    denoiser = ss.FunctionDenoiser(lambda t, x: t * x, process)
    one = lambda x, t, k: loss(denoiser, x, t, key=k)

    @jax.jit
    def everything(x0, key):
        each = batch_losses(loss, denoiser, x0, key=key, times=sampler)
        time_key, sample_key, _ = jax.random.split(key, 3)
        drawn = sampler.draw(process, 64, key=time_key)
        keys = jax.random.split(sample_key, 64)
        return each, each.mean, drawn, jax.vmap(one)(x0, drawn[0], keys)

    each, total, (drawn, weights), expected = everything(x0, key)
    assert 0.2 <= float(each.times.min()) and float(each.times.max()) < 1
    np.testing.assert_array_equal(each.times, drawn)
    np.testing.assert_allclose(each.losses, expected, rtol=1e-12)
    mean = np.mean(np.asarray(weights) * np.asarray(expected))
    assert float(total) == pytest.approx(mean, rel=1e-12)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at least one bin, got `bins=0`"):
        ImportanceTimes(0)
    with pytest.raises(ValueError, match=r"`decay=1.0`; expected a share in \(0, 1\)"):
        ImportanceTimes(decay=1.0)
    with pytest.raises(ValueError, match=r"`uniform=0.0`.*never be looked at again"):
        ImportanceTimes(uniform=0.0)

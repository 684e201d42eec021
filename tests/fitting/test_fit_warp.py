"""Trained warps against the inverse of the integral, which is their closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import softsde as ss
from softsde.corruptions import CenterMask, HeatBlur
from softsde.fitting import (
    FittedWarp,
    fit_warp,
    transport_schedule,
    transport_speed,
)
from softsde.oracles import GaussianOracle
from softsde.schedules import Constant, Linear, TimeWarp


def inverse_of_integral(cost, s):
    t = np.linspace(0, 1, 20_001)
    total = np.concatenate([[0], np.cumsum(cost(0.5 * (t[1:] + t[:-1])))])
    return np.interp(s * total[-1], total, t)


COSTS = {
    "growing": lambda t, key=None: 1 + 5 * t,
    "with a corner": lambda t, key=None: abs(t - 0.4) + 0.1,
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COSTS)
def test_the_trained_warp_is_the_inverse_of_the_integral(x64, key, name):
    cost = COSTS[name]
    fitted = fit_warp(cost, num_knots=40, num_steps=500, key=key)
    s = np.linspace(0, 1, 101)
    truth = inverse_of_integral(cost, s)
    got = np.asarray(jax.vmap(fitted.warp)(jnp.asarray(s)))
    # Of second order in the pieces, 1/40.
    assert np.abs(got - truth).max() < 3e-3
    np.testing.assert_allclose(fitted.evenness, 1.0, atol=0.02)
    # The clock and what was trained are inverse to each other.
    back = jax.vmap(fitted.progress)(jnp.asarray(got))
    np.testing.assert_allclose(back, s, atol=1e-6)
    # Of the even clock it is the divergence of the cost from the uniform law.
    t = (np.arange(4000) + 0.5) / 4000
    density = cost(t) / np.mean(cost(t))
    expected = np.mean(density * np.log(density))
    assert fitted.history[0] == pytest.approx(expected, rel=0.05)
    assert fitted.history[-1] < 1e-3 * expected + 1e-3


@pytest.mark.slow
def test_a_noisy_cost_is_learned_without_bias(x64, key):
    noisy = lambda t, key: (1 + 5 * t) * jax.random.exponential(key, dtype=t.dtype)
    fitted = fit_warp(noisy, num_knots=12, num_steps=4000, key=key)
    s = np.linspace(0, 1, 13)
    truth = inverse_of_integral(COSTS["growing"], s)
    got = np.asarray(jax.vmap(fitted.warp)(jnp.asarray(s)))
    # About the last thousand steps count, of noise as large as the cost.
    assert np.abs(got - truth).max() < 0.02


@pytest.mark.slow
def test_a_cost_that_changes_is_read_anew(x64, key):
    """As the loss of a denoiser whose weights live in a dictionary does in training."""
    weights = {"slope": 0.0}
    cost = lambda t, key: 1 + weights["slope"] * t
    even = fit_warp(cost, num_knots=8, num_steps=300, key=key)
    weights["slope"] = 5.0
    steep = fit_warp(cost, num_knots=8, num_steps=300, key=key)
    assert float(even.warp(0.5)) == pytest.approx(0.5, abs=1e-3)
    truth = inverse_of_integral(COSTS["growing"], 0.5)
    # Of second order in the pieces, 1/8.
    assert float(steep.warp(0.5)) == pytest.approx(truth, abs=2e-2)


def test_training_goes_on_from_where_it_was(x64, key):
    cost = COSTS["growing"]
    first = fit_warp(cost, num_knots=8, num_steps=300, key=key)
    again = fit_warp(
        cost, progress=first.progress, optimiser=optax.sgd(1e-6), num_steps=1, key=key
    )
    assert isinstance(again, FittedWarp)
    np.testing.assert_allclose(
        again.progress.knots(), first.progress.knots(), atol=1e-6
    )
    assert again.history[0] < 0.1 * first.history[0]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return rng.normal(size=(42, 6, 6, 1)).cumsum(axis=1).cumsum(axis=2)


def test_the_speed_is_the_limit_of_transport_distances(x64, images):
    heat = HeatBlur((6, 6, 1))
    process = ss.Process(heat, Linear(0.2, 3.0), Constant(0.1), clean_start=False)
    speed = transport_speed(process, images)
    for t in (0.1, 0.5, 0.9):
        h = 1e-4
        near = 0.2 + 2.8 * np.array([t - h, t + h])
        distance = transport_schedule(heat, near, images, num_points=2).distances[0, 1]
        assert float(speed(t)) == pytest.approx(distance / (2 * h), rel=1e-5)


def test_the_speed_counts_the_noise(x64, images):
    process = ss.Process(
        HeatBlur((6, 6, 1)), Constant(0.5), Linear(0.1, 0.7), clean_start=False
    )
    assert float(transport_speed(process, images)(0.3)) == pytest.approx(6 * 0.6)


def test_a_warp_of_the_speed_is_the_transport_schedule(x64, key, images):
    """By gradient, the schedule that the shortest path finds among candidates."""
    heat = HeatBlur((6, 6, 1))
    process = ss.Process(heat, Linear(0.2, 3.0), Constant(0.1), clean_start=False)
    speed = transport_speed(process, images)
    fitted = fit_warp(speed, num_knots=40, num_steps=300, key=key)
    learned = TimeWarp(process.levels, fitted.warp)
    levels = np.linspace(0.2, 3.0, 400)
    chosen = transport_schedule(heat, levels, images, num_points=41).schedule
    t = jnp.linspace(0.0, 1.0, 21)
    difference = jax.vmap(learned)(t) - jax.vmap(chosen)(t)
    # The candidates are 0.007 apart, a quarter of the shortest step.
    assert np.abs(difference).max() < 0.01 * 2.8


@pytest.mark.slow
def test_a_warp_evens_the_loss_along_the_path(x64, key):
    """The loss of the exact denoiser, which for Gaussian data is a trace."""
    variances = jnp.array([4.0, 1.0, 0.25])
    process = ss.ve(0.05, 5.0)
    oracle = GaussianOracle(jnp.zeros(3), jnp.diag(variances))
    denoiser = oracle.denoiser(process)

    def measured(t, key):
        draws = jax.random.normal(key, (2, 16, 3), t.dtype)
        clean = jnp.sqrt(variances)[None] * draws[0]
        noisy = clean + process.sigma(t) * draws[1]
        error = jax.vmap(lambda x: denoiser(t, x))(noisy) - clean
        return jnp.mean(jnp.sum(error**2, axis=1))

    fitted = fit_warp(measured, num_knots=16, num_steps=600, key=key)

    def exact(t):
        noise = (0.05 * 100.0 ** np.asarray(t)) ** 2
        v = np.asarray(variances)[:, None]
        return np.sum(v * noise / (v + noise), axis=0)

    s = np.linspace(0, 1, 33)
    got = np.asarray(jax.vmap(fitted.warp)(jnp.asarray(s)))
    truth = inverse_of_integral(exact, s)
    # Where nearly nothing is lost, at the start, all clocks are even: look beyond.
    assert np.abs(got - truth)[1:].max() < 0.02


def test_mistakes_are_named(key, images):
    with pytest.raises(ValueError, match="num_knots=1"):
        fit_warp(COSTS["growing"], num_knots=1, key=key)
    with pytest.raises(ValueError, match="num_steps=0"):
        fit_warp(COSTS["growing"], num_steps=0, key=key)
    for wrong in (lambda t, key: 1 - 1.5 * t, lambda t, key: 0 * t):
        with pytest.raises(ValueError, match="finite, not negative and not zero"):
            fit_warp(wrong, num_knots=4, num_steps=2, key=key)
    mask = ss.Process(CenterMask((6, 6, 1)), Linear(0.0, 1.0), Constant(0.1))
    with pytest.raises(ValueError, match="`CenterMask` jumps"):
        transport_speed(mask, np.float32(images))
    with pytest.raises(ValueError, match="no data"):
        transport_speed(ss.ve(), np.float32(images[:0]))

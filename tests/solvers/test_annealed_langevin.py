"""Annealed Langevin dynamics: its bias in closed form, with which it must come out."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss

from ._cases import gaussian_data, step_moments

CONVENTIONS = {"alpha": (1.0, 2.0), "alpha/2": (0.5, 1.0)}


def levels(process, sigmas):
    """The times of the levels, after one above them for the start."""
    times = np.asarray(jax.vmap(process.noise.inverse)(jnp.asarray(sigmas)))
    return [process.t1, *np.clip(times, process.t0, process.t1)]


def solve_moments(process, data, solver, times, moments):
    over = step_moments(process, data, solver, extras=solver.steps)
    for t, t_to in itertools.pairwise(times):
        moments = over(*moments, process.t1 - t, process.t1 - t_to)
    return moments


def recursion(sigmas, epsilon, steps, convention, variance):
    """Algorithm 1 on data `N(0, 1)`: how it carries the variance of the state."""
    drift, noise = CONVENTIONS[convention]
    for sigma in sigmas:
        alpha = epsilon * sigma**2 / sigmas[-1] ** 2
        for _ in range(steps):
            kept = 1 - drift * alpha / (1 + sigma**2)
            variance = kept**2 * variance + noise * alpha
    return variance


@pytest.mark.parametrize(
    "convention, steps, std",
    [("alpha", 5, 1.067), ("alpha/2", 5, 1.147), ("alpha", 50, 1.0062)],
)
def test_the_bias_of_ncsnv2_on_a_normal(x64, convention, steps, std):
    """Its 232 levels for CIFAR-10, 50 to 0.01, and its step size 6.2e-6: too wide by
    6.7 % with the published 5 moves a level, and by a tenth of that with 50."""
    sigmas = np.geomspace(50.0, 0.01, 232)
    # A level above the first, for the start: the first has moves too.
    process = ss.ve(0.01, 60.0)
    data = ss.oracles.GaussianOracle(jnp.zeros(1), jnp.eye(1))
    start = jnp.zeros(1), jnp.full((1, 1), 3601.0)
    times = levels(process, sigmas)
    solver = ss.AnnealedLangevin(6.2e-6, steps=steps, step_convention=convention)
    mean, covariance = solve_moments(process, data, solver, times, start)
    expected = recursion(sigmas, 6.2e-6, steps, convention, 3601.0)
    assert float(covariance[0, 0]) == pytest.approx(expected, rel=1e-9)
    assert np.sqrt(expected) == pytest.approx(std, abs=5e-4)
    assert float(mean[0]) == 0


def test_every_sequence_of_levels_on_a_blur(x64):
    """The scores of a blurred Gaussian, by matrices, over each sequence of levels."""
    process = ss.Process(
        ss.corruptions.GaussianBlur((3,), 6),
        ss.schedules.Geometric(0.3, 1.5),
        ss.schedules.Geometric(0.2, 1.2),
    )
    data = gaussian_data()
    start = data.marginal_moments(process, 1.0)
    solver = ss.AnnealedLangevin(1e-3, steps=3)
    over = step_moments(process, data, solver, extras=3)
    for name in ("geometric", "affine", "cosine", "sigmoid"):
        sigmas = np.asarray(ss.schedules.noise_sequence(name, 8, 1.0, 0.2))
        times = levels(process, sigmas)
        moments = start
        for t, t_to in itertools.pairwise(times):
            moments = over(*moments, 1 - t, 1 - t_to)
        m, v = (np.asarray(part) for part in start)
        for t, sigma in zip(times[1:], sigmas, strict=True):
            c = np.asarray(process.corruption.matrix(float(process.level(t)), 3))
            white = np.linalg.inv(c @ data.covariance @ c.T + sigma**2 * np.eye(3))
            alpha = 1e-3 * sigma**2 / 0.2**2
            kept = np.eye(3) - alpha * white
            for _ in range(3):
                m = m + alpha * white @ (c @ np.asarray(data.mean) - m)
                v = kept @ v @ kept.T + 2 * alpha * np.eye(3)
        np.testing.assert_allclose(moments[0], m, atol=1e-10)
        np.testing.assert_allclose(moments[1], v, atol=1e-10)


def test_sample_runs_it(x64, key):
    """4,000 draws on the flow's clock have the recursion's variance, within four
    standard errors; the last step of NCSNv2 is `denoise_last`."""
    sigmas = np.geomspace(3.0, 0.1, 6)
    process = ss.ve(0.1, 4.0)
    data = ss.oracles.GaussianOracle(jnp.zeros(1), jnp.eye(1))
    x1 = np.sqrt(17.0) * jax.random.normal(key, (4_000, 1))
    times = levels(process, sigmas)
    drawn = ss.sample(
        process,
        data.denoiser(process),
        x1=x1,
        times=times,
        solver=ss.AnnealedLangevin(2e-3, steps=7, step_convention="alpha/2"),
        noise_clock="flow",
        key=key,
    )
    assert drawn.nfe == 6 * 7 + 1
    variance = recursion(sigmas, 2e-3, 7, "alpha/2", 17.0) / (1 + 0.1**2) ** 2
    assert abs(variance - 1) > 0.1, "a bias to be seen"
    ratio = float(jnp.mean(drawn.x**2)) / variance
    assert ratio == pytest.approx(1, abs=4 * np.sqrt(2 / 4_000))


def test_a_corrected_chain_has_no_bias_of_its_step(x64, key):
    """At noise 0.1, with a step that doubles the variance of the plain chain.

    Of 4,000 draws, within four standard errors.
    """
    process = ss.ve(0.1, 0.11)
    x = 0.1 * jax.random.normal(key, (4_000, 1))
    keys = jax.random.split(jax.random.fold_in(key, 1), 4_000)

    def width(metropolis):
        solver = ss.AnnealedLangevin(0.01, steps=20, metropolis=metropolis)

        def one(x, key):
            term = ss.reverse_sde(process, lambda t, x: 0.0 * x, shape=(1,), key=key)
            state = solver.init(term, 0.0, 1.0, x, None)
            return solver.step(term, 0.0, 1.0, x, None, state, False)[0]

        return float(jnp.mean(jax.jit(jax.vmap(one))(x, keys) ** 2)) / 0.01

    error = 4 * np.sqrt(2 / 4_000)
    # 1 / (1 - h / 2 s^2) with h = s^2.
    assert width(None) == pytest.approx(2, abs=2 * error)
    assert width("score") == pytest.approx(1, abs=error)


def test_mistakes_are_named(as_a_user, x64):
    with pytest.raises(ValueError, match="step_size"):
        ss.AnnealedLangevin(0.0)
    with pytest.raises(ValueError, match="steps=0"):
        ss.AnnealedLangevin(1e-5, steps=0)
    with pytest.raises(ValueError, match="step_convention='both'"):
        ss.AnnealedLangevin(1e-5, step_convention="both")  # pyright: ignore
    silent = ss.probability_flow(ss.ve(), lambda t, x: x)
    with pytest.raises(ValueError, match="`AnnealedLangevin` draws noise of its own"):
        ss.AnnealedLangevin(1e-5).init(silent, 0.0, 0.1, jnp.ones(2), None)

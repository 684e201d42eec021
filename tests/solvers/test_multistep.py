"""The multistep sampler against its formula, DPM-Solver++(2M), the flow, moments."""

import itertools

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    CASES,
    STEPS,
    blur,
    check_order,
    flow_errors,
    mixture,
    moment_errors,
    preserving,
    preserving_numbers,
    shear,
    shear_numbers,
    slope,
    term_with,
    wavy,
)

import softsde as ss


def run(solver, term, times, x):
    """The states along a grid of times, by bare steps."""
    grid = [1 - t for t in times]
    state = solver.init(term, grid[0], grid[1], x, None)
    path = [x]
    for s0, s1 in itertools.pairwise(grid):
        x, _, _, state, _ = solver.step(term, s0, s1, x, None, state, False)
        path.append(x)
    return path


def log_snr(t):
    alpha, sigma = preserving_numbers(t)
    return jnp.log(alpha / sigma)


def dpm_solver_pp_2m(predict, times, x):
    """Algorithm 2 of Lu et al. 2022, as printed."""
    past = None
    for i in range(1, len(times)):
        alpha, sigma = preserving_numbers(times[i])
        _, sigma_before = preserving_numbers(times[i - 1])
        h = log_snr(times[i]) - log_snr(times[i - 1])
        now = predict(times[i - 1], x)
        d = now
        if past is not None:
            r = (log_snr(times[i - 1]) - log_snr(times[i - 2])) / h
            d = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * past
        x = sigma / sigma_before * x - alpha * (jnp.exp(-h) - 1) * d
        past = now
    return x


def test_steps_are_the_formula(x64, key):
    """Three unequal steps on an operator that is not normal, by matrices."""
    times = [0.9, 0.75, 0.5, 0.35]
    x = start = np.asarray(jax.random.normal(key, (2,)))
    past = None
    for i in range(3):
        t, t_to = times[i], times[i + 1]
        (c, sigma), (c_to, sigma_to) = shear_numbers(t), shear_numbers(t_to)
        x0_hat = np.sin(x) + t
        middle = x0_hat
        if past is not None:
            weight = (t_to - t) / (2 * (t - times[i - 1]))
            middle = x0_hat + weight * (x0_hat - past)
        x = sigma_to * (x / sigma + (c_to / sigma_to - c / sigma) @ middle)
        past = x0_hat
    term = ss.probability_flow(wavy(shear()))
    got = run(ss.Multistep(), term, times, jnp.asarray(start))[-1]
    np.testing.assert_allclose(got, x, atol=1e-12, rtol=0)


def test_on_a_scaling_it_is_dpm_solver(x64, key):
    """DPM-Solver++(2M): exactly in its own variable, and to second order in time."""
    process, oracle = preserving(), mixture(2)
    term = ss.probability_flow(oracle.denoiser(process))
    predict = jax.jit(lambda t, x: oracle.posterior_mean(process, t, x))
    x = jax.random.normal(key, (2,))
    times = np.linspace(1, 0, 7)
    expected = dpm_solver_pp_2m(predict, times, x)
    got = run(ss.Multistep(variable=log_snr), term, times, x)[-1]
    np.testing.assert_allclose(got, expected, atol=1e-12)
    widths, gaps = [0.01, 0.005, 0.0025], []
    for h in widths:
        # The first of two steps is the same. (The two variables are alike at pi / 4,
        # which is at t = 0.53: not there.)
        times = [0.4, 0.4 - h, 0.4 - 2 * h]
        expected = dpm_solver_pp_2m(predict, times, x)
        gaps.append(np.linalg.norm(run(ss.Multistep(), term, times, x)[-1] - expected))
    assert -slope(widths, gaps) == pytest.approx(3, abs=0.15)


@pytest.mark.parametrize("name, gaussian", CASES)
def test_order_2_on_the_flow(x64, name, gaussian):
    """On unequal steps, to the exact flow of every start."""
    errors = flow_errors(name, gaussian, ss.Multistep())
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)


# The paper's clock is in `tests/terms/test_one_term.py`.
@pytest.mark.parametrize(
    "clock",
    [ss.clocks.Churn(3.0), ss.clocks.Custom(lambda t: 3.0 * t + 2.0 * t**2)],
    ids=["churn", "own"],
)
def test_weak_order_2_on_a_clock(x64, clock):
    """To the data: the past makes up, a step late, for the noise within a step."""
    check_order(moment_errors(ss.Multistep(), clock), 2)


@pytest.mark.slow
def test_noise_adds_up_to_the_level(x64):
    """The variances kept and drawn sum to `sigma'^2`, on any clock and at rest."""
    process = ss.soft_blur((2, 2, 1))
    point = jnp.zeros((2, 2, 1))
    denoiser = ss.FunctionDenoiser(lambda t, x: point, process)
    for clock, injects in (
        ("sde", [False, True, True]),
        ("ode", [False] * 3),
        (ss.clocks.Custom(lambda t: 5 * jnp.maximum(t - 0.5, 0)), [True, False, False]),
        (ss.clocks.Churn(20.0), [True] * 3),
    ):
        for times, expected in zip(
            ([0.9, 0.6], [0.3, 0.1], [0.1, 0.0]), injects, strict=True
        ):
            before, after = (float(process.sigma(t)) for t in times)

            def end(x, z, clock=clock, times=times):
                term = term_with(denoiser, clock, z[None])
                return run(ss.Multistep(), term, times, x)[-1]

            kept = np.asarray(end(point + 1, point))
            drawn = np.asarray(end(point, point + 1))
            np.testing.assert_allclose(
                kept**2 * before**2 + drawn**2, after**2, rtol=1e-12
            )
            assert (drawn > 0).all() == expected, (clock, times)


def test_a_jump_or_a_resting_variable_falls_back_to_first_order(x64):
    term = ss.probability_flow(wavy(blur()))
    x = jnp.asarray([0.3, -1.0, 2.0])
    times = [0.8, 0.5, 0.4]
    first = run(ss.Multistep(order=1), term, times, x)
    resting = run(ss.Multistep(variable=jnp.zeros_like), term, times, x)
    np.testing.assert_allclose(resting, first, atol=1e-14)
    solver = ss.Multistep()
    state = solver.init(term, 0.2, 0.5, x, None)
    y, _, _, state, _ = solver.step(term, 0.2, 0.5, x, None, state, False)
    jumped = solver.step(term, 0.5, 0.6, y, None, state, True)[0]
    np.testing.assert_allclose(jumped, first[-1], atol=1e-14)


def test_the_memory_goes_through_diffrax(x64, key):
    """Whole solve on an unequal grid, in diffrax's own loop."""
    times = [0.9, 0.75, 0.5, 0.35]
    x = jax.random.normal(key, (2,))
    term = ss.probability_flow(wavy(shear()))
    solution = diffrax.diffeqsolve(
        term,
        ss.Multistep(),
        1 - times[0],
        1 - times[-1],
        None,
        x,
        stepsize_controller=diffrax.StepTo(1 - jnp.asarray(times)),
    )
    expected = run(ss.Multistep(), term, times, x)[-1]
    np.testing.assert_allclose(solution.ys[0], expected, atol=1e-12)


def test_mistakes_are_named(as_a_user, x64):
    with pytest.raises(ValueError, match="order=3"):
        ss.Multistep(order=3)

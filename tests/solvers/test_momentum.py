"""The Momentum Sampler against the paper's equations, and its order of convergence.

With Gaussian data the solve is an affine map of the start and of the noises. Its
Jacobian gives the moments of its output exactly: no Monte Carlo.
"""

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
    gaussian_data,
    moment_errors,
    one_step,
    slope,
    term_with,
    wavy,
)
from _paths import fresh_normals

import softsde as ss

DIM = 3


def numbers(process, t):
    matrix = np.asarray(process.corruption.matrix(float(process.level(t)), DIM))
    return matrix, float(process.sigma(t)) ** 2


def solve(term, steps, start, solver=None):
    return diffrax.diffeqsolve(
        term,
        ss.Momentum() if solver is None else solver,
        0.0,
        1.0,
        dt0=1 / steps,
        y0=start,
        adjoint=diffrax.ForwardMode(),
    ).ys[0]


@pytest.mark.parametrize("clock", ["sde", "ode", "churn"])
def test_a_step_is_the_papers_equation(x64, key, clock):
    """Eq. 17 (reverse SDE) and Eq. 51 (probability flow), term by term; with churn,
    Eq. 17 with more noise, and so more weight on the score."""
    process = blur()
    x_key, z_key = jax.random.split(key)
    x = jax.random.normal(x_key, (DIM,))
    z = jax.random.normal(z_key, (1, DIM))
    t_from, t_to = 0.7, 0.6
    c_from, v_from = numbers(process, t_from)
    c_to, v_to = numbers(process, t_to)
    x0_hat = np.sin(x) + t_from
    score = (c_from @ x0_hat - x) / v_from
    drop = v_from - v_to
    if clock == "ode":
        weight, noise = 0.5 * drop, 0.0
        term = ss.probability_flow(wavy(process))
    else:
        # sigma_t = 0.2 * 4^t, whose square integrates to itself / (2 log 4).
        churn = 3.0 if clock == "churn" else 0.0
        injected = drop + churn * drop / (2 * np.log(4))
        weight, noise = 0.5 * (drop + injected), np.sqrt(injected) * z[0]
        given = ss.clocks.Churn(churn) if churn else clock
        term = term_with(wavy(process), given, z)
    expected = x + (c_to - c_from) @ x0_hat + weight * score + noise
    got = one_step(ss.Momentum(), term, x, 1 - t_from, 1 - t_to)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


def test_without_corruption_it_is_songs_reverse_diffusion_step(x64, key):
    """x_i + (s_{i+1}^2 - s_i^2) score + sqrt(s_{i+1}^2 - s_i^2) z, whole solve."""
    process = ss.ve(0.01, 50.0)
    steps = 20
    x_key, z_key = jax.random.split(key)
    x = 50 * jax.random.normal(x_key, (DIM,))
    z = jax.random.normal(z_key, (steps, DIM))
    data = jnp.asarray(np.random.default_rng(0).normal(size=(4, DIM)))
    oracle = ss.oracles.EmpiricalOracle(data)
    got = solve(term_with(oracle.denoiser(process), "sde", z), steps, x)
    score = jax.jit(lambda t, x: oracle.score(process, t, x))
    for i in range(steps):
        t, t_next = 1 - i / steps, 1 - (i + 1) / steps
        gap = (0.01 * 5000**t) ** 2 - (0.01 * 5000**t_next) ** 2
        x = x + gap * score(t, x) + np.sqrt(gap) * z[i]
    np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("clock", ["sde", "ode"])
def test_at_constant_noise_it_is_cold_diffusions_algorithm_2(x64, key, clock):
    """`x_s - D(x_0, s) + D(x_0, s - 1)` (Bansal et al. 2023), whole solve: where the
    noise rests the score has no weight, and nothing is drawn on the paper's clock."""
    blur = ss.corruptions.GaussianBlur((DIM,), 6)
    process = ss.cold(blur, ss.schedules.Geometric(0.3, 1.5), 0.1)
    predict = lambda t, x: np.sin(x) + t
    degrade = lambda x0, t: np.asarray(blur.matrix(0.3 * 5**t, DIM)) @ np.asarray(x0)
    x = start = jax.random.normal(key, (DIM,))
    for i in range(5):
        t, t_to = 1 - i / 5, 1 - (i + 1) / 5
        x0 = predict(t, x)
        x = x - degrade(x0, t) + degrade(x0, t_to)
    term = ss.reverse_sde(wavy(process), clock=clock, shape=(DIM,), key=key)
    np.testing.assert_allclose(solve(term, 5, start), x, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name, gaussian", CASES)
def test_order_on_the_flow(x64, name, gaussian):
    """To the exact flow of every start, also where operators commute with nothing."""
    errors = flow_errors(name, gaussian, ss.Momentum())
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)


# The paper's clock is in `tests/terms/test_one_term.py`.
CLOCKS = {
    "ode": "ode",
    "churn": ss.clocks.Churn(3.0),
    "own": ss.clocks.Custom(lambda t: 4.0 * t),
}


@pytest.mark.parametrize("name", CLOCKS)
def test_moments_converge_at_first_order(x64, name):
    """To the data's, for no noise, for more than the paper's, and for a rate of one's
    own."""
    check_order(moment_errors(ss.Momentum(), CLOCKS[name]), 1)


# On a path with few points the same is in `test_strong_order.py`, in a second.
@pytest.mark.slow
def test_strong_order_on_a_brownian_tree(x64, key):
    """Strong order 1 on one Brownian path, by the distance of successive halvings."""
    denoiser = gaussian_data().denoiser(blur())
    keys = jax.random.split(key, 40)

    def end(key, steps):
        path = diffrax.VirtualBrownianTree(0.0, 1.0, 1e-7, (DIM,), key)
        term = ss.reverse_sde(denoiser, path=path)
        return solve(term, steps, jnp.ones(DIM))

    steps = (16, 32, 64, 128)
    ends = [jax.jit(jax.vmap(lambda k, n=n: end(k, n)))(keys) for n in steps]
    gaps = [
        float(jnp.sqrt(jnp.mean((a - b) ** 2))) for a, b in itertools.pairwise(ends)
    ]
    assert slope(steps[:-1], gaps) == pytest.approx(1, abs=0.15)


def test_naive_is_algorithm_1(x64, key):
    """The paper's, which is that of Cold Diffusion with the noise of each level."""
    process = blur()
    term = ss.reverse_sde(wavy(process), clock="ode", shape=(DIM,), key=key)
    x = got = jnp.ones(DIM)
    for i in range(4):
        s0, s1 = i / 4, (i + 1) / 4
        c, variance = numbers(process, 1 - s1)
        z = fresh_normals(term, s0, s1, x, 1)[0]
        x = c @ (np.sin(x) + (1 - s0)) + np.sqrt(variance) * z
        got = one_step(ss.Naive(), term, got, s0, s1)
        np.testing.assert_allclose(got, x, atol=1e-12)

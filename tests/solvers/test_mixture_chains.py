"""Samplers with noise of their own on a mixture: the law of what finite steps draw.

In one dimension a step is `x' = m(x) + f xi`. The expectation of a test function over
all that a chain of such steps can draw follows backwards, step by step: `u(x) = E
u'(m(x) + f xi)`, by Gauss-Hermite quadrature. The steps are written here from the
formulas of the papers, so the bias of a number of steps is predicted without the
library and without Monte Carlo.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.interpolate
from _cases import preserving, slope
from _paths import given_fresh

import softsde as ss

WEIGHTS, MEANS, VARIANCES = (np.array(v) for v in ([0.4, 0.6], [-1.2, 0.8], [0.1, 0.3]))
GRID = np.linspace(-7, 7, 1401)
NODES, NODE_WEIGHTS = np.polynomial.hermite_e.hermegauss(24)
NODE_WEIGHTS = NODE_WEIGHTS / NODE_WEIGHTS.sum()
TESTS = {"x": lambda x: x, "x^2": np.square, "cos 2x": lambda x: np.cos(2 * x)}
STEPS = (16, 32, 64, 128)


def level(t):
    """`alpha_t` and `sigma_t`."""
    return np.cos(0.1 + 1.3 * t), np.sin(0.1 + 1.3 * t)


def density(t, x):
    alpha, sigma = level(t)
    variance = alpha**2 * VARIANCES + sigma**2
    gap = np.asarray(x)[..., None] - alpha * MEANS
    parts = np.exp(-0.5 * gap**2 / variance) / np.sqrt(2 * np.pi * variance)
    return (WEIGHTS * parts).sum(-1)


def posterior_mean(t, x):
    alpha, sigma = level(t)
    variance = alpha**2 * VARIANCES + sigma**2
    gap = x[:, None] - alpha * MEANS
    shares = WEIGHTS * np.exp(-0.5 * gap**2 / variance) / np.sqrt(variance)
    shares /= shares.sum(1, keepdims=True)
    return (shares * (MEANS + alpha * VARIANCES / variance * gap)).sum(1)


def renoised(t, t_next, x, kept_noise, drawn):
    """`alpha' D` and the noise of `x`, scaled to what is kept; the fresh noise."""
    (alpha, sigma), (alpha_next, _) = level(t), level(t_next)
    d = posterior_mean(t, x)
    return alpha_next * d + kept_noise * (x - alpha * d) / sigma, drawn


def ancestral(t, t_next, x, *, large=False, eta=1.0):
    """Song et al., Eq. 12 and 16, and DDPM's two variances."""
    (alpha, sigma), (alpha_next, sigma_next) = level(t), level(t_next)
    beta = sigma**2 - (alpha / alpha_next * sigma_next) ** 2
    # The variance of the posterior, (1 - bar alpha') / (1 - bar alpha) beta.
    drawn = eta * sigma_next / sigma * np.sqrt(beta)
    kept = np.sqrt(sigma_next**2 - drawn**2)
    if large:
        drawn = eta * np.sqrt(beta)
    return renoised(t, t_next, x, kept, drawn)


def equation_52(t, t_next, x, *, k):
    sigma_next = level(t_next)[1]
    return renoised(t, t_next, x, np.sqrt(sigma_next**2 - k**2), k)


def langevin(t, t_next, x, *, h):
    """A move on the density of `t_next`, one in each step."""
    alpha, sigma = level(t_next)
    score = (alpha * posterior_mean(t_next, x) - x) / sigma**2
    return x + h * score, np.sqrt(2 * h)


def expectation(step, times, function, start):
    """Averages `function` over what the chain draws from the density of `start`."""
    values = function(GRID)
    for t, t_next in reversed(list(itertools.pairwise(times))):
        mean, drawn = step(t, t_next, GRID)
        spline = scipy.interpolate.CubicSpline(GRID, values)
        values = spline(mean[:, None] + drawn * NODES) @ NODE_WEIGHTS
    return np.trapezoid(density(start, GRID) * values, GRID)


def exact(function, t):
    return np.trapezoid(density(t, GRID) * function(GRID), GRID)


# Name: the step in NumPy and the solver, both for so many steps of the unit of time.
CHAINS = {
    "ancestral": (lambda n: ancestral, lambda n: ss.Ancestral()),
    "ancestral, larger variance": (
        lambda n: lambda *a: ancestral(*a, large=True),
        lambda n: ss.Ancestral("beta"),
    ),
    "half of its noise": (
        lambda n: lambda *a: ancestral(*a, eta=0.5),
        lambda n: ss.DDIM(0.5),
    ),
    # The noise of Eq. 52 is absolute: more steps inject more, unless k^2 falls.
    "k falling with the step": (
        lambda n: lambda *a: equation_52(*a, k=0.045 * np.sqrt(16 / n)),
        lambda n: ss.DDIM(k=0.045 * np.sqrt(16 / n)),
    ),
}


SLOW = {"ancestral", "half of its noise", "k falling with the step"}


def slow(name):
    """Each compiles a program of its own: some are enough for the fast lane."""
    return pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name


@pytest.mark.parametrize("name", [*map(slow, CHAINS), "k", "langevin"])
def test_the_solver_takes_the_steps_of_the_formula(x64, name):
    """Mean and noise of a step, on the whole grid of states."""
    if name == "k":
        step, solver = (lambda *a: equation_52(*a, k=0.06)), ss.DDIM(k=0.06)
    elif name == "langevin":
        step, solver = (lambda *a: langevin(*a, h=0.01)), ss.Langevin(0.01)
    else:
        step, solver = (make(16) for make in CHAINS[name])
    process = preserving()
    denoiser = ss.oracles.MixtureOracle(
        WEIGHTS, MEANS[:, None], VARIANCES[:, None, None]
    ).denoiser(process)
    term = ss.reverse_sde(denoiser, clock="ode", shape=(1,), key=jax.random.key(0))
    states = jnp.asarray(GRID[::20, None])

    def ends(t, t_next, z):
        with given_fresh(jnp.full((2, 1), z)):
            run = lambda x: solver.step(
                term,
                1 - t,
                1 - t_next,
                x,
                None,
                solver.init(term, 0.0, 1.0, x, None),
                False,
            )[0]
            return np.asarray(jax.jit(jax.vmap(run))(states))[:, 0]

    for t, t_next in ((1.0, 0.9), (0.35, 0.3), (0.06, 0.0)):
        mean, drawn = step(t, t_next, GRID[::20])
        np.testing.assert_allclose(ends(t, t_next, 0.0), mean, rtol=0, atol=1e-10)
        np.testing.assert_allclose(
            ends(t, t_next, 1.0) - ends(t, t_next, 0.0), drawn, rtol=0, atol=1e-10
        )


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n == "half of its noise" else pytest.mark.slow)
        for n in CHAINS
    ],
)
def test_weak_order_1_on_a_mixture(name):
    """All three expectations converge to those of the data's law at time 0."""
    make, _ = CHAINS[name]
    errors = []
    for n in STEPS:
        times = np.linspace(1, 0, n + 1)
        gaps = [
            expectation(make(n), times, f, 1.0) - exact(f, 0.0) for f in TESTS.values()
        ]
        errors.append(np.linalg.norm(gaps))
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15), errors
    assert abs(2 * errors[-1] - errors[-2]) < 0.1 * errors[-2], errors


def test_moves_of_langevin_are_of_weak_order_1():
    """On the density of one time, from that density: the bias is that of the step."""
    errors = []
    for n in STEPS:
        move = lambda *a, n=n: langevin(*a, h=0.4 / n)
        gaps = [
            expectation(move, np.full(n + 1, 0.4), f, 0.4) - exact(f, 0.4)
            for f in TESTS.values()
        ]
        errors.append(np.linalg.norm(gaps))
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15), errors


def test_a_constant_k_has_a_bias_that_steps_do_not_take_away():
    """Eq. 52 as printed: more steps inject more noise, each a little wrongly."""
    biases = []
    for n in (16, 64, 256):
        step = lambda *a: equation_52(*a, k=0.09)
        got = expectation(step, np.linspace(1, 0, n + 1), np.square, 1.0)
        biases.append(got - exact(np.square, 0.0))
    assert abs(biases[2]) > 0.7 * abs(biases[1]) > 1e-3, biases


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("ancestral", marks=pytest.mark.slow),
        "ancestral, larger variance",
        pytest.param("k", marks=pytest.mark.slow),
    ],
)
def test_draws_have_the_predicted_bias(x64, key, name):
    """Eight steps, 20,000 draws, four standard errors; and a bias that shows."""
    n, number = 8, 20_000
    if name == "k":
        step, solver = (lambda *a: equation_52(*a, k=0.09)), ss.DDIM(k=0.09)
    else:
        step, solver = (make(n) for make in CHAINS[name])
    process = preserving()
    oracle = ss.oracles.MixtureOracle(WEIGHTS, MEANS[:, None], VARIANCES[:, None, None])
    data_key, noise_key, key = jax.random.split(key, 3)
    x0 = jax.vmap(oracle.sample)(jax.random.split(data_key, number))
    alpha, sigma = level(1.0)
    x1 = alpha * x0 + sigma * jax.random.normal(noise_key, x0.shape)
    drawn = np.asarray(
        ss.sample(
            oracle.denoiser(process),
            x1=x1,
            solver=solver,
            num_steps=n,
            denoise_last=False,
            key=key,
        ).x
    )[:, 0]
    shown = []
    for function in TESTS.values():
        values = function(drawn)
        predicted = expectation(step, np.linspace(1, 0, n + 1), function, 1.0)
        error = values.std() / np.sqrt(number)
        assert values.mean() == pytest.approx(predicted, abs=4 * error)
        shown.append(abs(predicted - exact(function, 0.0)) / error)
    assert max(shown) > 4, "a bias to be seen"

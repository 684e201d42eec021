"""Langevin's chain: its moves, its bias in closed form, and that MALA has none."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    blur,
    carried_moments,
    gaussian_data,
    mixture,
    one_step,
    preserving,
    preserving_numbers,
    shear,
    shear_numbers,
    wavy,
)
from _paths import fresh_normals

import softsde as ss
from softsde.solvers import Step


def noisy(denoiser, key, shape):
    return ss.reverse_sde(denoiser, clock="ode", shape=shape, key=key)


def shear_score(t, x):
    """By matrices, for the denoiser `sin(x) + t`."""
    c, sigma = shear_numbers(t)
    return (c @ (np.sin(x) + t) - x) / sigma**2


def test_moves_are_the_formulas_of_both_conventions(x64, key):
    """Three moves at a time that is not that of the step, on a non-normal operator."""
    x0 = np.asarray(jax.random.normal(key, (2,)))
    term = noisy(wavy(shear()), key, (2,))
    alpha, ends = 0.03, {}
    for convention, drift, noise in (
        ("alpha", alpha, np.sqrt(2 * alpha)),
        ("alpha/2", alpha / 2, np.sqrt(alpha)),
    ):
        x = x0
        for z in fresh_normals(term, 0.2, 0.4, x0, 3):
            x = x + drift * shear_score(0.7, x) + noise * z
        solver = ss.Langevin(alpha, steps=3, step_convention=convention, at=0.7)
        state = solver.init(term, 0.2, 0.4, jnp.asarray(x0), None)
        got = solver.step(term, 0.2, 0.4, jnp.asarray(x0), None, state, False)
        np.testing.assert_allclose(got[0], x, atol=1e-12, rtol=0)
        assert tuple(map(int, got[3])) == (3, 3), "unadjusted: all moves are kept"
        ends[convention] = x
    assert np.abs(ends["alpha"] - ends["alpha/2"]).min() > 1e-3


def test_songs_step_size(x64, key):
    """`2 alpha_i (r |z| / |g|)^2` (their Algorithms 4 and 5), at the step's end."""
    x = np.asarray(jax.random.normal(key, (2,)))
    for process in (shear(), preserving()):
        term = noisy(wavy(process), key, (2,))
        z = fresh_normals(term, 0.2, 0.4, x, 1)[0]
        if process.is_scaling:
            (alpha, _), (alpha_to, sigma) = map(preserving_numbers, (0.8, 0.6))
            g = (alpha_to * (np.sin(x) + 0.6) - x) / sigma**2
            factor = (alpha / alpha_to) ** 2
            assert factor < 0.9
        else:
            g, factor = shear_score(0.6, x), 1.0
        epsilon = 2 * factor * (0.16 * np.linalg.norm(z) / np.linalg.norm(g)) ** 2
        expected = x + epsilon * g + np.sqrt(2 * epsilon) * z
        x = jnp.asarray(x)
        step = Step("the test", term, 0.2, 0.4, x, None)
        got = ss.Langevin(snr=0.16).correct(step, x)
        x = np.asarray(x)
        np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("convention, h", [("alpha", 0.1), ("alpha/2", 0.05)])
def test_the_unadjusted_chain_on_gaussian_data(x64, convention, h):
    """`S (I - h / 2 S^-1)^-1`, the stationary covariance of an autoregression."""
    process, data = blur(), gaussian_data()
    mean, covariance = data.marginal_moments(process, 0.4)
    solver = ss.Langevin(0.1, steps=5, step_convention=convention, at=0.4)
    # The time of diffrax counts steps, and has no other meaning.
    start = jnp.zeros(3), jnp.zeros((3, 3))
    moments = carried_moments(data, process, solver, np.arange(301), start, own=5)
    np.testing.assert_allclose(moments[0], mean, atol=1e-9)
    s = np.asarray(covariance)
    biased = s @ np.linalg.inv(np.eye(3) - h / 2 * np.linalg.inv(s))
    assert np.abs(biased - s).max() > 0.02, "the bias is worth a test"
    np.testing.assert_allclose(moments[1], biased, atol=1e-9)


MOVES, STEP, TIME, CHAINS = 20, 0.3, 0.6, 5_000


@eqx.filter_jit
def chains(process, oracle, solver, x, keys):
    """Runs chains: where they end, and what share of their moves was kept."""
    exact = oracle.denoiser(process)

    def one(x, key):
        term = noisy(exact, key, (2,))
        state = solver.init(term, 0.0, 1.0, x, None)
        x, _, _, state, _ = solver.step(term, 0.0, 1.0, x, None, state, False)
        return x, state.accepted / state.proposed

    return jax.vmap(one)(x, keys)


@eqx.filter_jit
def at_time(process, oracle, keys):
    """Exact draws of `x_t`."""

    def draw(key):
        data_key, noise_key = jax.random.split(key)
        return process.perturb(TIME, oracle.sample(data_key), key=noise_key)[0]

    return jax.vmap(draw)(keys)


@eqx.filter_jit
def features(process, oracle, x):
    """Monomials up to degree two, the log density and the score, of each draw."""
    log_prob = lambda v: oracle.log_prob(process, TIME, v)
    log_q, score = jax.vmap(jax.value_and_grad(log_prob))(x)
    a, b = x.T
    return jnp.stack([a, b, a * a, a * b, b * b, log_q]), score


@functools.cache
def stationary():
    """Exact draws, twice, and how often a move from one is kept, by the densities."""
    process, oracle = shear(), mixture(2)
    keys = jax.random.split(jax.random.key(5), (2, CHAINS))
    starts, truth = (np.asarray(at_time(process, oracle, keys[i])) for i in range(2))
    known, score = map(np.asarray, features(process, oracle, truth))
    z = np.random.default_rng(0).normal(size=truth.shape)
    forth = truth + STEP * score
    proposal = forth + np.sqrt(2 * STEP) * z
    there, score = map(np.asarray, features(process, oracle, jnp.asarray(proposal)))
    back = proposal + STEP * score
    distances = ((proposal - forth) ** 2).sum(1) - ((truth - back) ** 2).sum(1)
    kept = np.minimum(1, np.exp(there[-1] - known[-1] + distances / (4 * STEP)))
    return process, oracle, jnp.asarray(starts), known, kept


@pytest.mark.parametrize(
    "metropolis",
    [
        pytest.param(None, marks=pytest.mark.slow),
        pytest.param("log_prob", marks=pytest.mark.slow),
        "score",
    ],
)
def test_a_corrected_chain_keeps_a_mixture(x64, key, metropolis):
    """20 moves from exact draws, at a step size with which the plain chain is far off.

    Of 5,000 chains and 5,000 exact draws: means of the monomials up to degree two and
    of the log density, and the share of moves that is kept, within four standard
    errors. With the line integral of the score too: its error is below what this sees.
    """
    process, oracle, x, known, kept = stationary()
    log_prob = functools.partial(oracle.log_prob, process)
    solver = ss.Langevin(
        STEP,
        steps=MOVES,
        at=TIME,
        metropolis=log_prob if metropolis == "log_prob" else metropolis,
    )
    ends, rates = chains(process, oracle, solver, x, jax.random.split(key, CHAINS))
    got = np.asarray(features(process, oracle, ends)[0])
    errors = np.sqrt((got.var(1) + known.var(1)) / CHAINS)
    scores = np.abs(got.mean(1) - known.mean(1)) / errors
    if metropolis is None:
        assert scores.max() > 8 and float(rates.mean()) == 1
        return
    assert scores.max() < 4
    assert 0.3 < kept.mean() < 0.93
    error = np.sqrt((float(rates.var()) + kept.var()) / CHAINS)
    assert float(rates.mean()) == pytest.approx(kept.mean(), abs=4 * error)


def test_the_line_integral_is_exact_on_gaussian_data(x64, key):
    """Simpson's rule on a linear score: the same moves are kept, one by one."""
    process, data = blur(), gaussian_data()
    log_prob = functools.partial(data.log_prob, process)
    term = noisy(data.denoiser(process), key, (3,))
    x, ends = jnp.ones(3), []
    for metropolis in (log_prob, "score"):
        solver = ss.Langevin(0.25, steps=40, at=0.4, metropolis=metropolis)
        state = solver.init(term, 0.0, 1.0, x, None)
        got = jax.jit(lambda s=solver, z=state: s.step(term, 0.0, 1.0, x, None, z, 0))()
        ends.append((got[0], int(got[3].accepted)))
    np.testing.assert_allclose(ends[0][0], ends[1][0], atol=1e-10)
    assert ends[0][1] == ends[1][1] and 5 < ends[0][1] < 38


def test_mistakes_are_named(as_a_user, x64, key):
    with pytest.raises(ValueError, match="exactly one of them"):
        ss.Langevin()
    with pytest.raises(ValueError, match="exactly one of them"):
        ss.Langevin(0.1, snr=0.1)
    with pytest.raises(ValueError, match="step_size"):
        ss.Langevin(-1.0)
    with pytest.raises(ValueError, match="`metropolis` does not correct"):
        ss.Langevin(snr=0.1, metropolis="score")
    with pytest.raises(ValueError, match="steps=0"):
        ss.Langevin(0.1, steps=0)
    with pytest.raises(ValueError, match="step_convention='song'"):
        ss.Langevin(0.1, step_convention="song")  # pyright: ignore
    with pytest.raises(ValueError, match=r"metropolis='mala'.*log_prob"):
        ss.Langevin(0.1, metropolis="mala")  # pyright: ignore
    term = noisy(wavy(shear()), key, (2,))
    with pytest.raises(ValueError, match=r"at=1\.5"):
        one_step(ss.Langevin(0.1, at=1.5), term, jnp.ones(2), 0.0, 0.1)

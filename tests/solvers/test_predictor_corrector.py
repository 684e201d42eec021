"""Predictor and corrector: the published pairs step for step, and what a pair draws."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    CASES,
    STEPS,
    blur,
    carried_moments,
    flow_errors,
    gaussian_data,
    mixture,
    one_step,
    shear,
    shear_numbers,
    slope,
    wavy,
)
from _paths import fresh_normals

import softsde as ss
from softsde.terms import unit_increment


def test_songs_pair_is_algorithm_4(x64, key):
    """Reverse diffusion and Langevin, six steps of two corrections, on variance
    exploding noise (Song et al. 2021, with the norms of one sample)."""
    process, oracle = ss.ve(0.01, 50.0), mixture(2)
    term = ss.reverse_sde(oracle.denoiser(process), shape=(2,), key=key)
    pair = ss.PredictorCorrector(ss.Momentum(), ss.Langevin(snr=0.16, steps=2))
    assert pair.evaluations_per_step == 3
    x = got = 50 * jax.random.normal(key, (2,))
    x = np.asarray(x)
    state = pair.init(term, 0.0, 1 / 6, got, None)
    step = jax.jit(lambda s0, s1, x: pair.step(term, s0, s1, x, None, state, False)[0])
    score = jax.jit(lambda t, x: oracle.score(process, t, x))
    for i in range(6):
        s0, s1 = jnp.asarray(i / 6), jnp.asarray((i + 1) / 6)
        sigma, sigma_to = 0.01 * 5000 ** (1 - i / 6), 0.01 * 5000 ** (1 - (i + 1) / 6)
        gap = sigma**2 - sigma_to**2
        z = np.asarray(unit_increment(term.terms[1].control, s0, s1))
        x = x + gap * np.asarray(score(1 - s0, x)) + np.sqrt(gap) * z
        for z in fresh_normals(term, s0, s1, x, 2, part=1):
            g = np.asarray(score(1 - s1, x))
            epsilon = 2 * (0.16 * np.linalg.norm(z) / np.linalg.norm(g)) ** 2
            x = x + epsilon * g + np.sqrt(2 * epsilon) * z
        got = step(s0, s1, got)
        np.testing.assert_allclose(got, x, rtol=1e-11, atol=1e-12)


def test_the_papers_pair(x64, key):
    """Eq. 52 with k = 0, then Eq. 51 by what is known at the end, by matrices."""
    x = np.asarray(jax.random.normal(key, (2,)))
    (c, sigma), (c_to, sigma_to) = shear_numbers(0.7), shear_numbers(0.6)
    x0_hat = np.sin(x) + 0.7
    guess = c_to @ x0_hat + sigma_to / sigma * (x - c @ x0_hat)
    again = np.sin(guess) + 0.6
    score = (c_to @ again - guess) / sigma_to**2
    expected = x + (c_to - c) @ again + 0.5 * (sigma**2 - sigma_to**2) * score
    pair = ss.PredictorCorrector(ss.DDIM(), ss.MomentumCorrector())
    assert pair.evaluations_per_step == 2 and pair.noise == "none"
    for term in (
        ss.probability_flow(wavy(shear())),
        ss.reverse_sde(wavy(shear()), clock="ode", shape=(2,), key=key),
    ):
        got = one_step(pair, term, jnp.asarray(x), 1 - 0.7, 1 - 0.6)
        np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name, gaussian", CASES[:2])
def test_the_papers_pair_is_of_order_1(x64, name, gaussian):
    """To the exact flow."""
    pair = ss.PredictorCorrector(ss.DDIM(), ss.MomentumCorrector())
    errors = flow_errors(name, gaussian, pair)
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize(
    "predictor, clock",
    [
        (ss.Naive(), "ode"),
        pytest.param(ss.DDIM(1.0), "ode", marks=pytest.mark.slow),
        (ss.Momentum(), "sde"),
        pytest.param(ss.Heun(), "sde", marks=pytest.mark.slow),
    ],
    ids=["naive", "ddim", "momentum", "heun"],
)
def test_a_corrector_takes_back_a_predictors_error(x64, predictor, clock):
    """Four steps in time of 60 moves: left is the bias of the chain, in closed form."""
    process, data = blur(), gaussian_data()
    truth, s = (np.asarray(v) for v in data.marginal_moments(process, 0.0))
    white, h = np.linalg.inv(s), 0.01
    biased = s @ np.linalg.inv(np.eye(3) - h / 2 * white)
    # What a chain still remembers of its start, after 60 moves.
    memory = np.linalg.norm(np.eye(3) - h * white, 2) ** 60
    errors = []
    chain = ss.AnnealedLangevin((0.8, 0.2), h, steps=60)
    for solver in (ss.PredictorCorrector(predictor, chain), predictor):
        start = data.marginal_moments(process, 1.0)
        grid = np.linspace(0, 1, 5)
        moments = carried_moments(
            data, process, solver, grid, start, clock=clock, own=61
        )
        errors.append(
            [np.linalg.norm(moments[0] - truth), np.linalg.norm(moments[1] - biased)]
        )
    corrected, plain = np.asarray(errors)
    assert memory < 0.6
    assert corrected[0] <= memory * plain[0] + 0.01
    assert corrected[1] <= memory**2 * plain[1] + 0.01


KEPT = 1 - 0.05 / 0.25


@pytest.mark.parametrize(
    "predictor, clock, variance",
    [
        # What the predictor draws, shrunk by the move; and the two moves' own.
        (ss.Momentum(), "sde", 0.75 * KEPT**2 + 0.1),
        (ss.Naive(), "ode", 0.25 * KEPT**2 + 0.1),
        (ss.DDIM(1.0), "ode", 0.25 * 0.75 * KEPT**2 + 0.1),
        (
            ss.PredictorCorrector(ss.Naive(), ss.Langevin(0.05)),
            "ode",
            (0.25 * KEPT**2 + 0.1) * KEPT**2 + 0.1,
        ),
    ],
    ids=["momentum", "naive", "ddim", "pair"],
)
def test_the_noises_are_independent(x64, key, predictor, clock, variance):
    """One step of a denoiser that knows all: left are the noises, whose variances add
    up. Of 8,000 draws, within four standard errors."""
    number = 8_000
    point = ss.FunctionDenoiser(lambda t, x: jnp.zeros_like(x), ss.ve(0.5, 1.0))
    pair = ss.PredictorCorrector(predictor, ss.Langevin(0.05))

    def draw(key):
        term = ss.reverse_sde(point, clock=clock, shape=(), key=key)
        return one_step(pair, term, jnp.zeros(()), 0.0, 1.0)

    drawn = jax.jit(jax.vmap(draw))(jax.random.split(key, number))
    ratio = float(jnp.mean(drawn**2)) / variance
    assert ratio == pytest.approx(1, abs=4 * np.sqrt(2 / number))


@pytest.mark.slow
def test_a_multistep_predictor_keeps_its_memory(x64, key):
    """Through diffrax's own loop: as a corrector that hardly moves leaves it alone."""
    denoiser = mixture(3).denoiser(blur())
    x = jax.random.normal(key, (3,))
    pair = ss.PredictorCorrector(ss.Multistep(), ss.Langevin(1e-24))
    ends = []
    for solver in (pair, ss.Multistep()):
        term = ss.reverse_sde(denoiser, clock="ode", shape=(3,), key=key)
        solution = diffrax.diffeqsolve(
            term, solver, 0.0, 1.0, 1 / 8, x, adjoint=diffrax.ForwardMode()
        )
        ends.append(solution.ys[0])
    np.testing.assert_allclose(*ends, atol=1e-9)


def test_mistakes_are_named(as_a_user, x64, key):
    with pytest.raises(TypeError, match=r"for `predictor`.*such as `Momentum"):
        ss.PredictorCorrector(diffrax.Euler(), ss.Langevin(0.1))  # pyright: ignore
    with pytest.raises(TypeError, match=r"for `corrector`.*Langevin\(snr="):
        ss.PredictorCorrector(ss.DDIM(), ss.Momentum())  # pyright: ignore
    pair = ss.PredictorCorrector(ss.DDIM(), ss.Langevin(0.1, at=0.3))
    term = ss.reverse_sde(wavy(shear()), clock="ode", shape=(2,), key=key)
    with pytest.raises(ValueError, match=r"at=0\.3.*leave `at` out"):
        one_step(pair, term, jnp.ones(2), 0.0, 0.1)

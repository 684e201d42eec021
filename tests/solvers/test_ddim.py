"""The DDIM-type sampler against its formula, its relatives in print, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import CustomClock

from ._cases import (
    CASES,
    STEPS,
    Shear,
    blur,
    flow_errors,
    mixture,
    moment_errors,
    preserving,
    preserving_numbers,
    shear,
    slope,
    term_with,
)


def denoiser(t, x):
    return jnp.sin(x) + t


@pytest.mark.parametrize("k", [0.0, 0.6, 1.0])
def test_a_step_is_the_formula(x64, key, k):
    process = shear()
    x_key, z_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(x_key, (2,)))
    z = np.asarray(jax.random.normal(z_key, (1, 2)))
    dense = lambda theta: np.asarray(
        jax.vmap(lambda v: Shear().apply(theta, v), out_axes=1)(jnp.eye(2))
    )
    (c, sigma), (c_to, sigma_to) = (
        (dense(t**2), float(process.sigma(t))) for t in (0.7, 0.4)
    )
    x0_hat = np.sin(x) + 0.7
    fresh = k**2 * (1 - sigma_to**2 / sigma**2)
    eta = np.sqrt(1 - fresh) * (x - c @ x0_hat) / sigma + np.sqrt(fresh) * z[0]
    expected = c_to @ x0_hat + sigma_to * eta
    # On a clock that rests: the sampler says itself how much noise it wants.
    term = term_with(process, denoiser, "flow", jnp.asarray(z))
    if k == 0:
        term = ss.probability_flow(process, denoiser)
    solver = ss.DDIM(k)
    got = solver.step(term, 1 - 0.7, 1 - 0.4, jnp.asarray(x), None, None, False)[0]
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


def test_on_a_scaling_it_is_songs_ddim(x64, key):
    """Song et al. 2021, Eq. 12 with eta = 0, whole trajectory."""
    process, oracle = preserving(), mixture(2)
    noise_prediction = lambda t, x, alpha, sigma: (
        (x - alpha * oracle.posterior_mean(process, t, x)) / sigma
    )
    term = ss.probability_flow(process, oracle.denoiser(process))
    x = got = jax.random.normal(key, (2,))
    for i in range(6):
        t, t_to = 1 - i / 6, 1 - (i + 1) / 6
        (alpha, sigma), (alpha_to, sigma_to) = map(preserving_numbers, (t, t_to))
        noise = noise_prediction(t, x, alpha, sigma)
        x = alpha_to * (x - sigma * noise) / alpha + sigma_to * noise
        got = ss.DDIM().step(term, 1 - t, 1 - t_to, got, None, None, False)[0]
        np.testing.assert_allclose(got, x, atol=1e-12)


def test_without_corruption_k_1_is_ancestral_sampling(x64, key):
    """Song et al. 2021 (SDE), Eq. 47: a smaller noise than reverse diffusion's."""
    process = ss.ve(0.01, 5.0)
    x_key, z_key = jax.random.split(key)
    x, z = jax.random.normal(x_key, (2,)), jax.random.normal(z_key, (1, 2))
    before, after = 0.01 * 500**0.7, 0.01 * 500**0.4
    score = (denoiser(0.7, x) - x) / before**2
    gap = before**2 - after**2
    expected = x + gap * score + after / before * np.sqrt(gap) * z[0]
    term = term_with(process, denoiser, "paper", z)
    got = ss.DDIM(1.0).step(term, 1 - 0.7, 1 - 0.4, x, None, None, False)[0]
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_it_is_exact_while_the_prediction_rests(x64, key):
    """Data that is one point: any number of steps gives the same end."""
    process = blur()
    point = jnp.asarray([0.3, -1.0, 2.0])
    term = ss.probability_flow(process, lambda t, x: point)
    x = jax.random.normal(key, (3,))
    once = ss.DDIM().step(term, 0.0, 1.0, x, None, None, False)[0]
    twice = x
    for s in (0.0, 0.5):
        twice = ss.DDIM().step(term, s, s + 0.5, twice, None, None, False)[0]
    np.testing.assert_allclose(twice, once, atol=1e-12)


@pytest.mark.parametrize("name, gaussian", CASES)
def test_order_1_on_the_flow(x64, name, gaussian):
    errors = flow_errors(name, gaussian, ss.DDIM())
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("k", [0.5, 1.0])
def test_weak_order_1_for_any_k(x64, k):
    """To the data, and it does not ask the clock of its term."""
    errors = moment_errors(ss.DDIM(k), CustomClock(lambda s: 7 * s))
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)
    assert abs(2 * errors[-1] - errors[-2]) < 0.1 * errors[-2]


def test_mistakes_are_named(as_a_user, x64):
    with pytest.raises(ValueError, match=r"k=1\.5"):
        ss.DDIM(1.5)
    term = ss.probability_flow(shear(), denoiser)
    with pytest.raises(ValueError, match=r"DDIM\(k=0\.5\)` draws fresh noise"):
        ss.DDIM(0.5).init(term, 0.0, 0.1, jnp.ones(2), None)
    with pytest.raises(TypeError, match="`DDIM` steps a term in control"):
        derivative = ss.probability_flow(shear(), denoiser, form="derivative")
        ss.DDIM().init(derivative, 0.0, 0.1, jnp.ones(2), None)

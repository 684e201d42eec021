"""The second-order Momentum Sampler against its formula, the flow, and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import softsde as ss
from softsde.terms import CustomClock

from ._cases import (
    CASES,
    STEPS,
    Shear,
    flow_errors,
    moment_errors,
    shear,
    slope,
    term_with,
)


def denoiser(t, x):
    return jnp.sin(x) + t


def numbers(process, t):
    """`C_t` and `sigma_t` of the shear."""
    shearing = np.array([[1.0, 3.0], [0.0, 0.5]])
    return scipy.linalg.expm(-(t**2) * shearing), float(process.sigma(t))


def test_the_shear_is_a_matrix_exponential_that_is_not_normal(x64):
    dense, _ = numbers(shear(), 0.7)
    got = jax.vmap(lambda v: Shear().apply(0.49, v), out_axes=1)(jnp.eye(2))
    np.testing.assert_allclose(got, dense, atol=1e-14)
    assert np.abs(dense @ dense.T - dense.T @ dense).max() > 0.5


@pytest.mark.parametrize("clock", ["paper", "flow"])
def test_a_step_is_heuns(x64, key, clock):
    process = shear()
    x_key, z_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(x_key, (2,)))
    z = np.asarray(jax.random.normal(z_key, (1, 2)))
    (c, sigma), (c_to, sigma_to) = numbers(process, 0.7), numbers(process, 0.6)
    gap = sigma**2 - sigma_to**2
    weight, noise = (gap, np.sqrt(gap) * z[0]) if clock == "paper" else (gap / 2, 0.0)

    def field(t, c, sigma, x):
        x0_hat = np.sin(x) + t
        return x0_hat, (c @ x0_hat - x) / sigma**2

    x0_hat, score = field(0.7, c, sigma, x)
    guess = x + (c_to - c) @ x0_hat + weight * score + noise
    x0_hat_to, score_to = field(0.6, c_to, sigma_to, guess)
    expected = x + (c_to - c) @ (x0_hat + x0_hat_to) / 2
    expected += weight * (score + score_to) / 2 + noise
    term = term_with(process, denoiser, "paper", jnp.asarray(z))
    if clock == "flow":
        term = ss.probability_flow(process, denoiser)
    got = ss.HeunMomentum().step(
        term, 1 - 0.7, 1 - 0.6, jnp.asarray(x), None, None, False
    )[0]
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("solver, order", [(ss.Momentum(), 1), (ss.HeunMomentum(), 2)])
@pytest.mark.parametrize("name, gaussian", CASES)
def test_order_on_the_flow(x64, name, gaussian, solver, order):
    """To the exact flow of every start, also where operators commute with nothing."""
    errors = flow_errors(name, gaussian, solver)
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", ["paper", "own"])
def test_weak_order_2_on_a_noise_clock(x64, name):
    clock = CustomClock(lambda s: 0.3 * s + 0.2 * s**2) if name == "own" else name
    errors = moment_errors(ss.HeunMomentum(), clock)
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)
    # The limit is the data: Richardson's extrapolation of the error is about zero.
    assert abs(4 * errors[-1] - errors[-2]) < 0.1 * errors[-2]

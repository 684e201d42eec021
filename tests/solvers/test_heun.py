"""Heun's method for any corruption against its formula, the flow, and moments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    CASES,
    STEPS,
    Shear,
    check_order,
    flow_errors,
    moment_errors,
    one_step,
    shear,
    shear_numbers,
    slope,
    term_with,
    wavy,
)

import softsde as ss


def test_the_shear_is_a_matrix_exponential_that_is_not_normal(x64):
    dense, _ = shear_numbers(0.7)
    got = jax.vmap(lambda v: Shear().apply(0.49, v), out_axes=1)(jnp.eye(2))
    np.testing.assert_allclose(got, dense, atol=1e-14)
    assert np.abs(dense @ dense.T - dense.T @ dense).max() > 0.5


CHURN = ss.clocks.Churn(3.0)
# Of the shear `sigma^2` is 0.04 * 25^t, which integrates to itself / (2 log 5).
INJECTED = {
    "sde": lambda drop: drop,
    "ode": lambda drop: 0.0,
    "churn": lambda drop: drop + 3 * drop / (2 * np.log(5)),
}


@pytest.mark.parametrize("clock", INJECTED)
def test_a_step_in_x_is_heuns(x64, key, clock):
    x_key, z_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(x_key, (2,)))
    z = np.asarray(jax.random.normal(z_key, (1, 2)))
    (c, sigma), (c_to, sigma_to) = shear_numbers(0.7), shear_numbers(0.6)
    drop = sigma**2 - sigma_to**2
    injected = INJECTED[clock](drop)
    weight, noise = 0.5 * (drop + injected), np.sqrt(injected) * z[0]

    def field(t, c, sigma, x):
        x0_hat = np.sin(x) + t
        return x0_hat, (c @ x0_hat - x) / sigma**2

    x0_hat, score = field(0.7, c, sigma, x)
    guess = x + (c_to - c) @ x0_hat + weight * score + noise
    x0_hat_to, score_to = field(0.6, c_to, sigma_to, guess)
    expected = x + (c_to - c) @ (x0_hat + x0_hat_to) / 2
    expected += weight * (score + score_to) / 2 + noise
    given = CHURN if clock == "churn" else clock
    term = term_with(wavy(shear()), given, jnp.asarray(z))
    got = one_step(ss.Heun(), term, jnp.asarray(x), 1 - 0.7, 1 - 0.6)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("forward", [False, True], ids=["back", "forward"])
@pytest.mark.parametrize("clock", INJECTED)
def test_a_step_in_normalised_coordinates(x64, key, clock, forward):
    r"""$C' \bar D + \frac{\sigma'}{\sigma} e^{-\mu/2} (x - C \bar D) + \sigma'
    \sqrt{1 - e^{-\mu}} z$ with the mean of two predictions. By one of them alone it is
    `Multistep` of order 1, and without noise `DDIM`."""
    t, t_to = (0.6, 0.7) if forward else (0.7, 0.6)
    x_key, z_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(x_key, (2,)))
    z = np.asarray(jax.random.normal(z_key, (1, 2)))
    (c, sigma), (c_to, sigma_to) = shear_numbers(t), shear_numbers(t_to)
    paper = 0.2 * np.log(5)
    mu = {"sde": paper, "ode": 0.0, "churn": paper + 0.3}[clock]
    noise = sigma_to * np.sqrt(1 - np.exp(-mu)) * z[0]

    def advance(x0_hat):
        kept = sigma_to / sigma * np.exp(-mu / 2)
        return c_to @ x0_hat + kept * (x - c @ x0_hat) + noise

    start = np.sin(x) + t
    guess = advance(start)
    expected = advance(0.5 * (start + np.sin(guess) + t_to))
    given = CHURN if clock == "churn" else clock
    term = term_with(wavy(shear()), given, jnp.asarray(z), forward=forward)
    s0, s1 = (0.6, 0.7) if forward else (1 - 0.7, 1 - 0.6)
    x = jnp.asarray(x)
    got = one_step(ss.Heun("normalised"), term, x, s0, s1)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)
    got = one_step(ss.Multistep(order=1), term, x, s0, s1)
    np.testing.assert_allclose(got, guess, atol=1e-12, rtol=0)
    if clock == "ode":
        got = one_step(ss.DDIM(), term, x, s0, s1)
        np.testing.assert_allclose(got, guess, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name, gaussian", CASES)
@pytest.mark.parametrize("coordinates", ["x", "normalised"])
def test_order_2_on_the_flow(x64, name, gaussian, coordinates):
    """To the exact flow of every start, also where operators commute with nothing."""
    errors = flow_errors(name, gaussian, ss.Heun(coordinates))
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)


# The paper's clock is in `tests/terms/test_one_term.py`.
@pytest.mark.parametrize(
    "clock",
    [CHURN, ss.clocks.Custom(lambda t: 3.0 * t + 2.0 * t**2)],
    ids=["churn", "own"],
)
@pytest.mark.parametrize("coordinates", ["x", "normalised"])
def test_weak_order_2_on_a_clock(x64, coordinates, clock):
    check_order(moment_errors(ss.Heun(coordinates), clock), 2)


def test_the_error_estimate(x64, key):
    """Half the difference of two predictions on their way in: of second order. In
    normalised coordinates it is large wherever sigma changes by more than 2, so that
    such a step is rejected although both of its predictions may agree."""
    process = ss.ve(0.1, 10.0)
    data = ss.oracles.GaussianOracle(jnp.zeros(2), jnp.eye(2))
    term = ss.probability_flow(data.denoiser(process))
    x = jax.random.normal(key, (2,))

    def error(solver, width):
        return float(
            np.abs(solver.step(term, 0.3, 0.3 + width, x, None, None, False)[1]).max()
        )

    widths = (0.02, 0.01, 0.005)
    for solver in (ss.Heun(), ss.Heun("normalised")):
        errors = [error(solver, h) for h in widths]
        assert -slope(widths, errors) == pytest.approx(2, abs=0.15)
    # sigma changes by 2 over log(2) / log(100) = 0.1505.
    assert error(ss.Heun("normalised"), 0.149) < 1
    assert error(ss.Heun("normalised"), 0.152) > 1e3


def test_mistakes_are_named(as_a_user):
    with pytest.raises(ValueError, match="coordinates='z'`; expected 'x' or 'normal"):
        ss.Heun("z")  # pyright: ignore

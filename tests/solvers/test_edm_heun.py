"""EDM's sampler: their algorithms, its published errors, its order, its marginals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    CASES,
    STEPS,
    check_order,
    flow_errors,
    gaussian_data,
    mixture,
    moment_errors,
    one_step,
    shear,
    shear_numbers,
    slope,
    wavy,
)
from _paths import fresh_normals

import softsde as ss


def karras(number, low=0.002, high=80.0, rho=7.0):
    """Their Eq. 5: `number` noise levels, and then none."""
    share = np.arange(number) / (number - 1)
    levels = (high ** (1 / rho) + share * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    return np.append(levels, 0.0)


def algorithm_1(predict, x, levels):
    """As printed: Euler's step to no noise is the last."""
    for sigma, sigma_to in itertools.pairwise(levels):
        d = (x - predict(sigma, x)) / sigma
        guess = x + (sigma_to - sigma) * d
        if sigma_to == 0:
            return guess
        again = (guess - predict(sigma_to, guess)) / sigma_to
        x = x + (sigma_to - sigma) * (0.5 * d + 0.5 * again)
    raise AssertionError


MEAN, VARIANCE = 0.7, 0.3


def gaussian(sigma, x):
    """`E[x0 | x]` of data `N(0.7, 0.3)`."""
    return (VARIANCE * x + sigma**2 * MEAN) / (VARIANCE + sigma**2)


PUBLISHED = {9: 0.0728, 18: 0.01447, 36: 0.00320, 72: 0.000753}


def test_the_published_errors_on_a_gaussian(x64, key):
    """By Algorithm 1 from a latent of 0.5 times the most noise, over N levels and a
    last step to none, against the end of the exact flow; and with `sample`."""
    start = 0.5 * 80
    shrunk = np.sqrt(VARIANCE / (VARIANCE + 80.0**2))
    exact = MEAN + (start - MEAN) * shrunk
    process = ss.edm()
    data = ss.oracles.GaussianOracle(jnp.full(1, MEAN), jnp.full((1, 1), VARIANCE))
    predict = data.denoiser(process)
    term = ss.probability_flow(predict)
    step = jax.jit(
        lambda s0, s1, x: ss.EDMHeun().step(term, s0, s1, x, None, None, False)
    )
    for number, error in PUBLISHED.items():
        end = algorithm_1(gaussian, start, karras(number))
        assert end - exact == pytest.approx(error, rel=5e-3)
        x = jnp.full(1, start)
        for i in range(number - 1):
            s0, s1 = jnp.asarray(i / (number - 1)), jnp.asarray((i + 1) / (number - 1))
            x = step(s0, s1, x)[0]
        assert float(predict(0.0, x)[0]) == pytest.approx(end, abs=1e-12)
    drawn = ss.sample(
        predict,
        x1=jnp.full((1, 1), start),
        num_steps=17,
        solver=ss.EDMHeun(),
        key=key,
    )
    assert float(drawn.x[0, 0]) - exact == pytest.approx(PUBLISHED[18], rel=1e-3)
    assert drawn.nfe == 35, "theirs too: 2 N - 1"


def test_with_churn_it_is_algorithm_2(x64, key):
    """All their parameters in play: with and without noise, and the most noise there
    is. Their N = 9 steps are 8 here, and a last one to no noise."""
    number, churn, low, high, scale = 9, 3.0, 0.05, 40.0, 1.01
    process, oracle = ss.edm(), mixture(2)
    levels = karras(number)
    time_of = lambda sigma: float(process.noise.inverse(jnp.asarray(sigma)))
    solver = ss.EDMHeun(churn, low, high, scale)
    assert solver.noise == "own" and ss.EDMHeun().noise == "none"
    denoiser = oracle.denoiser(process)
    term = ss.reverse_sde(denoiser, clock="ode", shape=(2,), key=key)
    solver.init(term, 0.0, 1 / 8, jnp.zeros(2), None)
    step = jax.jit(lambda s0, s1, x: solver.step(term, s0, s1, x, None, None, False)[0])
    predict = jax.jit(lambda t, x: denoiser(t, x))
    x = np.asarray(80 * jax.random.normal(key, (2,)))
    got, raised = jnp.asarray(x), []
    for i in range(number - 1):
        s0, s1 = jnp.asarray(i / (number - 1)), jnp.asarray((i + 1) / (number - 1))
        sigma, sigma_to = levels[i], levels[i + 1]
        gamma = min(churn / number, np.sqrt(2) - 1) if low <= sigma <= high else 0.0
        raised.append(gamma > 0)
        hat = sigma + gamma * sigma
        z = fresh_normals(term, s0, s1, x, 1)[0]
        x_hat = x + np.sqrt(hat**2 - sigma**2) * scale * z
        d = (x_hat - np.asarray(predict(time_of(hat), x_hat))) / hat
        x = x_hat + (sigma_to - hat) * d
        again = (x - np.asarray(predict(1 - s1, x))) / sigma_to
        x = x_hat + (sigma_to - hat) * (0.5 * d + 0.5 * again)
        got = step(s0, s1, got)
        np.testing.assert_allclose(got, x, rtol=1e-9, atol=1e-12)
    assert raised == [False, *[True] * 6, False]


@pytest.mark.parametrize("churn, gamma", [(80.0, np.sqrt(2) - 1), (3.0, 0.3)])
def test_gamma_is_bounded(x64, key, churn, gamma):
    """`min(S_churn / N, sqrt(2) - 1)`, N = 10 for nine steps and the last: by the
    variance that a known point gets."""
    process = ss.edm()
    point = ss.FunctionDenoiser(lambda t, x: jnp.zeros_like(x), process)
    term = ss.reverse_sde(point, clock="ode", shape=(2,), key=key)
    x = jnp.asarray([1.0, -2.0])
    s0, s1 = 4 / 9, 5 / 9
    z = fresh_normals(term, s0, s1, x, 1)[0]
    sigma, sigma_to = (float(process.sigma(1 - s)) for s in (s0, s1))
    hat = (1 + gamma) * sigma
    # The flow of one point is a line through it.
    expected = sigma_to / hat * (x + np.sqrt(hat**2 - sigma**2) * z)
    got = one_step(ss.EDMHeun(churn), term, x, s0, s1)
    np.testing.assert_allclose(got, expected, rtol=1e-10)


def test_a_step_on_any_operator(x64, key):
    """Heun's method in `(C, sigma)`, by matrices that are not normal."""
    x = np.asarray(jax.random.normal(key, (2,)))
    (c, sigma), (c_to, sigma_to) = shear_numbers(0.7), shear_numbers(0.6)
    x0_hat = np.sin(x) + 0.7
    noise = (x - c @ x0_hat) / sigma
    guess = c_to @ x0_hat + sigma_to * noise
    again = np.sin(guess) + 0.6
    noise_to = (guess - c_to @ again) / sigma_to
    expected = x + (c_to - c) @ (x0_hat + again) / 2
    expected += (sigma_to - sigma) * (noise + noise_to) / 2
    term = ss.probability_flow(wavy(shear()))
    got = one_step(ss.EDMHeun(), term, jnp.asarray(x), 1 - 0.7, 1 - 0.6)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name, gaussian", CASES[2:])
def test_order_2_on_the_flow(x64, name, gaussian):
    """To the exact flow of every start, on operators that commute with nothing."""
    errors = flow_errors(name, gaussian, ss.EDMHeun())
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", ["ve", "vp"])
def test_churn_keeps_the_marginals(x64, name):
    """Exact moments of what it draws: to the data, at second order. A scaling finds its
    later time by a table."""
    process = {"ve": ss.ve(0.2, 4.0), "vp": ss.vp(0.1, 6.0, t0=0.05)}[name]
    steps = (16, 32, 64, 128)
    errors = moment_errors(
        ss.EDMHeun(2.0), "ode", steps, process=process, oracle=gaussian_data(2), own=1
    )
    check_order(errors, 2, steps)


def test_mistakes_are_named(as_a_user, x64, key):
    with pytest.raises(ValueError, match="`EDMHeun` needs `s_churn` >= 0"):
        ss.EDMHeun(-1.0)
    with pytest.raises(ValueError, match="s_noise"):
        ss.EDMHeun(1.0, s_noise=0.0)
    with pytest.raises(ValueError, match=r"s_min=2\.0` and `s_max=1\.0"):
        ss.EDMHeun(1.0, 2.0, 1.0)
    start = jnp.ones(2)
    with pytest.raises(ValueError, match=r"got `Shear`.*`Heun\(\)`.*Churn\(6\.0\)"):
        term = ss.reverse_sde(wavy(shear()), clock="ode", shape=(2,), key=key)
        one_step(ss.EDMHeun(3.0), term, start, 0.0, 0.1)
    with pytest.raises(ValueError, match=r"goes back in time.*no churn"):
        term = ss.forward_sde(wavy(ss.edm()), clock="ode", shape=(2,), key=key)
        one_step(ss.EDMHeun(3.0), term, start, 0.0, 0.1)

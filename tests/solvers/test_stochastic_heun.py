"""EDM's sampler: their algorithms, its published errors, its order, its marginals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import softsde as ss

from ._cases import CASES, STEPS, flow_errors, mixture, shear, slope, step_moments


def denoiser(t, x):
    return jnp.sin(x) + t


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
    term = ss.probability_flow(process, predict)
    step = jax.jit(
        lambda s0, s1, x: ss.StochasticHeun().step(term, s0, s1, x, None, None, False)
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
        process,
        predict,
        x1=jnp.full((1, 1), start),
        num_steps=17,
        solver=ss.StochasticHeun(),
        noise_clock="flow",
        key=key,
    )
    assert float(drawn.x[0, 0]) - exact == pytest.approx(PUBLISHED[18], rel=1e-3)
    assert drawn.nfe == 35, "theirs too: 2 N - 1"


def test_with_churn_it_is_algorithm_2(x64, key):
    """All parameters in play: with and without noise, and the most noise there is."""
    number, churn, low, high, scale = 9, 3.0, 0.05, 40.0, 1.01
    process, oracle = ss.edm(), mixture(2)
    predict = oracle.denoiser(process)
    levels = karras(number)
    time_of = lambda sigma: float(process.noise.inverse(jnp.asarray(sigma)))
    solver = ss.StochasticHeun(
        churn * (number - 1) / number, between=(low, high), noise_scale=scale
    )
    term = ss.reverse_sde(process, predict, noise_clock="flow", shape=(2,), key=key)
    assert solver.draws_noise and not ss.StochasticHeun().draws_noise
    solver.init(term, 0.0, 1 / 8, jnp.zeros(2), None)
    step = jax.jit(lambda s0, s1, x: solver.step(term, s0, s1, x, None, None, False)[0])
    predict = jax.jit(predict)
    x = np.asarray(80 * jax.random.normal(key, (2,)))
    got, raised = jnp.asarray(x), []
    for i in range(number - 1):
        s0, s1 = jnp.asarray(i / (number - 1)), jnp.asarray((i + 1) / (number - 1))
        sigma, sigma_to = levels[i], levels[i + 1]
        gamma = min(churn / number, np.sqrt(2) - 1) if low <= sigma <= high else 0.0
        raised.append(gamma > 0)
        hat = sigma + gamma * sigma
        z = np.asarray(term.brownian.fresh(s0, s1))
        x_hat = x + np.sqrt(hat**2 - sigma**2) * scale * z
        d = (x_hat - np.asarray(predict(time_of(hat), x_hat))) / hat
        x = x_hat + (sigma_to - hat) * d
        again = (x - np.asarray(predict(1 - s1, x))) / sigma_to
        x = x_hat + (sigma_to - hat) * (0.5 * d + 0.5 * again)
        got = step(s0, s1, got)
        np.testing.assert_allclose(got, x, rtol=1e-10, atol=1e-12)
    assert raised == [False, *[True] * 6, False]


def test_a_step_on_any_operator(x64, key):
    """Heun's method in `(C, sigma)`, by matrices that are not normal."""
    x = np.asarray(jax.random.normal(key, (2,)))
    shearing = np.array([[1.0, 3.0], [0.0, 0.5]])
    (c, sigma), (c_to, sigma_to) = (
        (scipy.linalg.expm(-(t**2) * shearing), 0.2 * 5**t) for t in (0.7, 0.6)
    )
    x0_hat = np.sin(x) + 0.7
    noise = (x - c @ x0_hat) / sigma
    guess = c_to @ x0_hat + sigma_to * noise
    again = np.sin(guess) + 0.6
    noise_to = (guess - c_to @ again) / sigma_to
    expected = x + (c_to - c) @ (x0_hat + again) / 2
    expected += (sigma_to - sigma) * (noise + noise_to) / 2
    term = ss.probability_flow(shear(), denoiser)
    got = ss.StochasticHeun().step(
        term, 1 - 0.7, 1 - 0.6, jnp.asarray(x), None, None, False
    )[0]
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name, gaussian", CASES[2:])
def test_order_2_on_the_flow(x64, name, gaussian):
    """To the exact flow of every start, on operators that commute with nothing."""
    errors = flow_errors(name, gaussian, ss.StochasticHeun())
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)


@pytest.mark.parametrize("name", ["ve", "vp"])
def test_churn_keeps_the_marginals(x64, name):
    """Exact moments of what it draws: to the data, at second order. A scaling finds its
    later time by a table."""
    process = {"ve": ss.ve(0.2, 4.0), "vp": ss.vp(0.1, 6.0, t0=0.05)}[name]
    rng = np.random.default_rng(7)
    root = rng.normal(size=(2, 2))
    data = ss.oracles.GaussianOracle(rng.normal(size=2), root @ root.T / 2)
    solver = ss.StochasticHeun(2.0)
    over = step_moments(process, data, solver, extras=1)
    truth = data.marginal_moments(process, process.t0)
    length = process.t1 - process.t0
    steps, errors = (16, 32, 64, 128), []
    for n in steps:
        moments = data.marginal_moments(process, process.t1)
        for i in range(n):
            moments = over(*moments, length * i / n, length * (i + 1) / n)
        errors.append(
            np.linalg.norm(moments[0] - truth[0])
            + np.linalg.norm(moments[1] - truth[1])
        )
    assert slope(steps, errors) == pytest.approx(2, abs=0.15), errors
    # The limit is the data: Richardson's extrapolation of the error is about zero.
    assert abs(4 * errors[-1] - errors[-2]) < 0.1 * errors[-2]


def test_mistakes_are_named(as_a_user, x64, key):
    with pytest.raises(ValueError, match="churn"):
        ss.StochasticHeun(-1.0)
    with pytest.raises(ValueError, match="noise_scale"):
        ss.StochasticHeun(1.0, noise_scale=0.0)
    with pytest.raises(ValueError, match=r"between=\(2\.0, 1\.0\)"):
        ss.StochasticHeun(1.0, between=(2.0, 1.0))
    with pytest.raises(ValueError, match="`StochasticHeun` draws noise of its own"):
        term = ss.probability_flow(ss.edm(), denoiser)
        ss.StochasticHeun(1.0).init(term, 0.0, 0.1, jnp.ones(2), None)
    with pytest.raises(ValueError, match=r"got `Shear`.*ChurnClock\(process, 6\.0\)"):
        term = ss.reverse_sde(shear(), denoiser, shape=(2,), key=key)
        ss.StochasticHeun(3.0).init(term, 0.0, 0.1, jnp.ones(2), None)

"""The DDIM-type sampler against its formula, its relatives in print, and its limits."""

import itertools

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
    one_step,
    preserving,
    preserving_numbers,
    shear,
    shear_numbers,
    slope,
    term_with,
    wavy,
)
from _paths import fresh_normals, given_fresh

import softsde as ss


def noisy(denoiser, key, shape):
    """The flow, with noise at hand."""
    return ss.reverse_sde(denoiser, clock="ode", shape=shape, key=key)


def check_step(solver, fresh, key, times=(0.7, 0.4)):
    """Eq. 52 on an operator that is not normal, with noise `fresh` drawn anew."""
    t, t_to = times
    x_key, z_key = jax.random.split(key)
    x = np.asarray(jax.random.normal(x_key, (2,)))
    (c, sigma), (c_to, sigma_to) = shear_numbers(t), shear_numbers(t_to)
    denoiser = wavy(shear())
    term = noisy(denoiser, z_key, (2,))
    z = fresh_normals(term, 1 - t, 1 - t_to, jnp.asarray(x), 1)[0]
    if solver.noise == "none":
        term = ss.probability_flow(denoiser)
    x0_hat = np.sin(x) + t
    kept = np.sqrt(sigma_to**2 - fresh**2) / sigma
    expected = c_to @ x0_hat + kept * (x - c @ x0_hat) + fresh * z
    got = one_step(solver, term, jnp.asarray(x), 1 - t, 1 - t_to)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("eta", [0.0, 0.6, 1.0])
def test_a_step_with_eta_is_the_formula(x64, key, eta):
    """`f^2 = eta^2 sigma'^2 (1 - sigma'^2 / sigma^2)` for an operator that is no
    scaling."""
    sigma, sigma_to = 0.2 * 5**0.7, 0.2 * 5**0.4
    fresh = eta * sigma_to * np.sqrt(1 - sigma_to**2 / sigma**2)
    solver = ss.DDIM(eta)
    assert solver.noise == ("none" if eta == 0 else "own")
    check_step(solver, fresh, key)


@pytest.mark.parametrize("k", [0.0, 0.1, 5.0])
def test_a_step_with_k_is_equation_52(x64, key, k):
    """`x' = C' D + sqrt(sigma'^2 - k^2) (x - C D) / sigma + k xi`, in the units of the
    data; more than there is to replace is all of it."""
    solver = ss.DDIM(k=k)
    assert solver.noise == ("none" if k == 0 else "own")
    check_step(solver, min(k, 0.2 * 5**0.4), key)


def test_k_injects_while_sigma_rests(x64, key):
    """Each step draws noise anew, and its variance stays that of the level."""
    process = ss.Process(
        ss.corruptions.GaussianBlur((3,), 6),
        ss.schedules.Geometric(0.3, 1.5),
        ss.schedules.Constant(0.5),
    )
    point = ss.FunctionDenoiser(lambda t, x: jnp.zeros_like(x), process)
    term = noisy(point, key, (3,))
    x = jnp.asarray([0.4, -0.2, 1.0])
    z = fresh_normals(term, 0.2, 0.3, x, 1)[0]
    got = one_step(ss.DDIM(k=0.3), term, x, 0.2, 0.3)
    np.testing.assert_allclose(got, 0.8 * x + 0.3 * z, atol=1e-12)
    # With `eta` nothing is injected there.
    got = one_step(ss.DDIM(1.0), term, x, 0.2, 0.3)
    np.testing.assert_allclose(got, x, atol=1e-12)


def test_on_a_scaling_it_is_songs_ddim(x64, key):
    """Song et al. 2021, Eq. 12 with eta = 0 and 0.7, whole trajectories."""
    process, oracle = preserving(), mixture(2)
    predict = jax.jit(lambda t, x: oracle.posterior_mean(process, t, x))
    for eta in (0.0, 0.7):
        term = noisy(oracle.denoiser(process), key, (2,))
        x = got = jax.random.normal(key, (2,))
        for i in range(6):
            s0, s1 = i / 6, (i + 1) / 6
            (alpha, sigma), (alpha_to, sigma_to) = map(
                preserving_numbers, (1 - s0, 1 - s1)
            )
            noise = (x - alpha * predict(1 - s0, x)) / sigma
            # Eq. 16, with alpha^2 and sigma^2 for their alpha and 1 - alpha.
            drawn = eta * sigma_to / sigma * np.sqrt(1 - alpha**2 / alpha_to**2)
            z = fresh_normals(term, s0, s1, x, 1)[0]
            x = (
                alpha_to * (x - sigma * noise) / alpha
                + np.sqrt(sigma_to**2 - drawn**2) * noise
                + drawn * z
            )
            got = one_step(ss.DDIM(eta), term, got, s0, s1)
            np.testing.assert_allclose(got, x, atol=1e-12)


def test_ancestral_is_ddpms_posterior(x64, key):
    """Ho et al. 2020, Eq. 6 and 7, on the variance-preserving process, whole chain."""
    assert ss.Ancestral() == ss.DDIM(eta=1.0)
    process, oracle = ss.vp(), mixture(2)
    predict = jax.jit(lambda t, x: oracle.posterior_mean(process, t, x))
    term = noisy(oracle.denoiser(process), key, (2,))
    # Their alpha-bar, from beta rising from 0.1 to 20.
    alpha_bar = lambda t: np.exp(-0.5 * 19.9 * t**2 - 0.1 * t)
    grid = np.linspace(0, 0.999, 11)
    x = got = jax.random.normal(key, (2,))
    for s0, s1 in itertools.pairwise(grid):
        bar, bar_to = alpha_bar(1 - s0), alpha_bar(1 - s1)
        beta = 1 - bar / bar_to
        mean = (
            np.sqrt(bar_to) * beta / (1 - bar) * predict(1 - s0, x)
            + np.sqrt(1 - beta) * (1 - bar_to) / (1 - bar) * x
        )
        variance = (1 - bar_to) / (1 - bar) * beta
        x = mean + np.sqrt(variance) * fresh_normals(term, s0, s1, x, 1)[0]
        got = one_step(ss.Ancestral(), term, got, s0, s1)
        np.testing.assert_allclose(got, x, atol=1e-11)


def test_without_corruption_eta_1_is_songs_ancestral_sampling(x64, key):
    """Song et al. 2021 (SDE), Eq. 47: a smaller noise than reverse diffusion's."""
    process = ss.ve(0.01, 5.0)
    x = jax.random.normal(key, (2,))
    before, after = 0.01 * 500**0.7, 0.01 * 500**0.4
    score = (np.sin(x) + 0.7 - x) / before**2
    gap = before**2 - after**2
    term = noisy(wavy(process), key, (2,))
    z = fresh_normals(term, 1 - 0.7, 1 - 0.4, x, 1)[0]
    expected = x + gap * score + after / before * np.sqrt(gap) * z
    got = one_step(ss.DDIM(1.0), term, x, 1 - 0.7, 1 - 0.4)
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_it_is_exact_while_the_prediction_rests(x64, key):
    """Data that is one point: any number of steps gives the same end."""
    point = jnp.asarray([0.3, -1.0, 2.0])
    term = ss.probability_flow(ss.FunctionDenoiser(lambda t, x: point, blur()))
    x = jax.random.normal(key, (3,))
    once = one_step(ss.DDIM(), term, x, 0.0, 1.0)
    twice = one_step(ss.DDIM(), term, x, 0.0, 0.5)
    twice = one_step(ss.DDIM(), term, twice, 0.5, 1.0)
    np.testing.assert_allclose(twice, once, atol=1e-12)


@pytest.mark.parametrize("name, gaussian", CASES)
def test_order_1_on_the_flow(x64, name, gaussian):
    errors = flow_errors(name, gaussian, ss.DDIM())
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize("corruption", ["blur", "scaling"])
def test_weak_order_1_for_any_eta(x64, corruption, eta):
    """To the data: whatever `eta` is, the limit is a reverse process."""
    process = blur() if corruption == "blur" else preserving()
    check_order(moment_errors(ss.DDIM(eta), "ode", process=process, own=1), 1)


def test_eta_is_a_clock_in_the_limit(x64):
    """Noise `eta^2` times the paper's: one step differs from the exact step of such a
    clock, `Multistep` of order 1, by no more than the step to the power 3 / 2."""
    eta, h_all, gaps = 0.5, (0.02, 0.01, 0.005), []
    # The paper's rate is 2 log 4.
    clock = ss.clocks.Custom(lambda t: eta**2 * 2 * np.log(4))
    denoiser, x = wavy(blur()), jnp.ones(3)
    z = jnp.asarray([[0.3, -1.0, 2.0]])
    for h in h_all:
        ends = [
            one_step(solver, term_with(denoiser, given, z), x, 0.5, 0.5 + h)
            for solver, given in ((ss.Multistep(1), clock), (ss.Multistep(1), "ode"))
        ]
        with given_fresh(z):
            term = term_with(denoiser, "ode", z)
            got = one_step(ss.DDIM(eta), term, x, 0.5, 0.5 + h)
        gaps.append(np.linalg.norm(got - ends[0]))
        assert gaps[-1] < 0.1 * np.linalg.norm(ends[1] - ends[0])
    assert -slope(h_all, gaps) == pytest.approx(1.5, abs=0.15)


def test_mistakes_are_named(as_a_user, x64, key):
    with pytest.raises(ValueError, match=r"eta=1\.5.*ancestral"):
        ss.DDIM(1.5)
    with pytest.raises(ValueError, match=r"eta=0\.5` and `k=0\.1`"):
        ss.DDIM(0.5, k=0.1)
    with pytest.raises(ValueError, match="`DDIM` needs `k` >= 0"):
        ss.DDIM(k=-0.1)
    forward = ss.forward_sde(wavy(shear()), clock="ode", shape=(2,), key=key)
    for solver in (ss.DDIM(0.5), ss.DDIM(k=0.1)):
        with pytest.raises(ValueError, match=r"forward in time.*`DDIM\(\)`"):
            one_step(solver, forward, jnp.ones(2), 0.2, 0.3)

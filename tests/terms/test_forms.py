"""The forms of the family: one is the other, both directions, and both limits."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import ControlForm, CustomClock, NormalisedForm
from tests.solvers._cases import (
    STEPS,
    blur,
    flow_errors,
    mixture,
    moment_errors,
    shear,
    slope,
    starts,
    term_with,
)


def denoiser(t, x):
    return jnp.sin(x) + t


def one_step(solver, term, x, s0=0.3, s1=0.4):
    state = solver.init(term, s0, s1, x, None)
    return solver.step(term, s0, s1, x, None, state, False)[0]


@pytest.mark.parametrize("forward", [False, True])
@pytest.mark.parametrize("clock", ["paper", "own", "flow"])
def test_euler_on_the_normalised_form_is_the_exponential_step(x64, key, clock, forward):
    r"""$C' D + a (x - C D) + b z$, with the integral of `a` and `b` by quadrature."""
    process = shear()
    x_key, z_key = jax.random.split(key)
    x, z = jax.random.normal(x_key, (2,)), jax.random.normal(z_key, (1, 2))
    s0, s1 = 0.3, 0.4
    time = lambda s: s if forward else 1 - s
    # sigma_t = 0.2 * 5^t, so the paper's clock runs at 2 log(5) sigma^2.
    rate = lambda s: 2 * np.log(5) * float(process.sigma(time(s))) ** 2
    given = "paper"
    if clock == "flow":
        rate, given = (lambda s: 0.0), "flow"
    if clock == "own":
        # In proportion to sigma^2, where the step is exact; twice the paper's.
        total = lambda s: 2 * (process.sigma(time(s)) ** 2) * (1 if forward else -1)
        given = CustomClock(total)
        paper = rate
        rate = lambda s: 2 * paper(s)
    points, weights = np.polynomial.legendre.leggauss(12)
    nodes = s0 + (s1 - s0) * (points + 1) / 2
    sigma = lambda s: float(process.sigma(time(s)))
    rates = [w * rate(s) / sigma(s) ** 2 for s, w in zip(nodes, weights, strict=True)]
    renewed = sum(rates) * (s1 - s0) / 2
    kept = sigma(s1) / sigma(s0) * np.exp(-renewed / 2)
    fresh = sigma(s1) * np.sqrt(1 - np.exp(-renewed))
    x0_hat = denoiser(time(s0), x)
    corrupt = lambda s: process.apply(time(s), x0_hat)
    expected = corrupt(s1) + kept * (x - corrupt(s0)) + fresh * z[0]
    if clock == "flow":
        term = ss.probability_flow(
            process, denoiser, form="normalised", forward=forward
        )
    else:
        term = term_with(process, denoiser, given, z, NormalisedForm, forward)
    got = one_step(ss.Momentum(), term, x, s0, s1)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)
    np.testing.assert_allclose(
        one_step(ss.Multistep(order=1), term, x, s0, s1), got, atol=1e-14
    )
    if clock == "flow":
        np.testing.assert_allclose(one_step(ss.DDIM(), term, x, s0, s1), got)


def test_heun_on_the_normalised_form(x64, key):
    r"""$C' \bar D + (\sigma' / \sigma)(x - C \bar D)$, the mean of two predictions."""
    process = shear()
    x = jax.random.normal(key, (2,))
    term = ss.probability_flow(process, denoiser, form="normalised")
    ratio = process.sigma(0.6) / process.sigma(0.7)

    def advance(x0_hat):
        left = x - process.apply(0.7, x0_hat)
        return process.apply(0.6, x0_hat) + ratio * left

    start = denoiser(0.7, x)
    end = denoiser(0.6, advance(start))
    expected = advance(0.5 * (start + end))
    got = one_step(ss.HeunMomentum(), term, x)
    np.testing.assert_allclose(got, expected, atol=1e-12, rtol=0)


def test_orders_of_the_normalised_form(x64):
    """2 on the flow, for operators that do not commute; weakly 2 on a clock."""
    errors = flow_errors("blur", False, ss.HeunMomentum(), form="normalised")
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)
    errors = moment_errors(ss.HeunMomentum(), "paper", form=NormalisedForm)
    assert slope(STEPS, errors) == pytest.approx(2, abs=0.15)
    assert abs(4 * errors[-1] - errors[-2]) < 0.1 * errors[-2]


@pytest.mark.parametrize(
    "solver, form, order",
    [
        (ss.Momentum(), "control", 1),
        (ss.HeunMomentum(), "control", 2),
        (ss.HeunMomentum(), "normalised", 2),
        (ss.Multistep(), "control", 2),
    ],
    ids=["momentum", "heun", "normalised heun", "multistep"],
)
def test_orders_of_the_flow_forward_in_time(x64, solver, form, order):
    """From the data to the very start that the exact flow takes to it."""
    errors = flow_errors("blur", False, solver, form=form, forward=True)
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.15)


def test_the_forward_sde_reaches_the_marginal(x64):
    """Exact moments of what Euler's method draws: order 1, to the right limit."""
    errors = moment_errors(ss.Momentum(), "paper", forward=True)
    assert slope(STEPS, errors) == pytest.approx(1, abs=0.15)
    assert abs(2 * errors[-1] - errors[-2]) < 0.1 * errors[-2]


def test_the_forward_drift_is_the_papers(x64, key):
    r"""Eq. 13: $\dot C_t D$ and $\sqrt{d\sigma^2/dt}$, with no score."""
    process = shear()
    x = jax.random.normal(key, (2,))
    for form in ("derivative", "control"):
        term = ss.forward_sde(process, denoiser, form=form, shape=(2,), key=key)
        if form == "derivative":
            drift, noise = term.vf(0.7, x, None)
            x0_hat = denoiser(0.7, x)
            np.testing.assert_allclose(drift, process.drift(0.7, x, x0_hat), atol=1e-12)
            np.testing.assert_allclose(
                noise.diagonal, process.diffusion(0.7) * np.ones(2), atol=1e-12
            )
        else:
            assert float(term.contr(0.3, 0.7).score_weight) == pytest.approx(0)


@pytest.mark.slow
def test_forward_and_back_is_the_identity(x64):
    """The latent of a sample, by two solves that meet within their error."""
    process, oracle = blur(), mixture(3)
    x0 = starts(process, oracle, 1, jax.random.key(3))[0]

    def run(form, forward, start):
        return diffrax.diffeqsolve(
            ss.probability_flow(
                process, oracle.denoiser(process), form=form, forward=forward
            ),
            diffrax.Dopri5(),
            0.0,
            1.0,
            0.01,
            start,
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
        ).ys[0]

    latent = run("derivative", True, x0)
    np.testing.assert_allclose(run("derivative", False, latent), x0, atol=1e-7)


def test_without_noise_a_step_is_cold_diffusions(x64, key):
    """Bansal et al., Algorithm 2: `x - C D + C' D`, also for operators that jump."""
    process = ss.cold(ss.corruptions.CenterMask((5,)), ss.schedules.Linear())
    x = jax.random.normal(key, (1, 5))
    expected = x[0]
    for t, t_to in ((1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)):
        x0_hat = denoiser(t, expected)
        kept = process.apply(t_to, x0_hat) - process.apply(t, x0_hat)
        expected = expected + kept
    for solver, clock in (
        (ss.Momentum(), "paper"),
        (ss.DDIM(), "flow"),
        (ss.Multistep(order=1), "paper"),
    ):
        drawn = ss.sample(
            process,
            denoiser,
            x1=x,
            num_steps=4,
            solver=solver,
            noise_clock=clock,
            denoise_last=False,
            key=key,
        )
        np.testing.assert_allclose(drawn.x[0], expected, atol=1e-12)


def test_mistakes_are_named(as_a_user, x64, key):
    process = shear()
    start = jnp.ones(2)
    solve = lambda term, solver: diffrax.diffeqsolve(
        term, solver, 1.0, 0.0, -0.1, start, adjoint=diffrax.ForwardMode()
    )
    with pytest.raises(Exception, match="from a later time to an earlier"):
        solve(ss.probability_flow(process, denoiser), ss.Momentum())
    term = ss.reverse_sde(process, denoiser, form="derivative", shape=(2,), key=key)
    with pytest.raises(Exception, match="from a later time to an earlier"):
        solve(term, diffrax.EulerHeun())
    with pytest.raises(ValueError, match="form='heun'"):
        ss.forward_sde(process, denoiser, form="heun", shape=(2,), key=key)
    with pytest.raises(ValueError, match="forward in time"):
        term = term_with(process, denoiser, "paper", jnp.ones((1, 2)), forward=True)
        one_step(ss.DDIM(0.5), term, start)
    silent = ss.cold(ss.corruptions.Fade(), ss.schedules.Linear())
    with pytest.raises(ValueError, match="a process without noise"):
        ss.reverse_sde(silent, denoiser, noise_clock=lambda s: s, shape=(2,), key=key)
    grown = ss.Process(
        ss.corruptions.Fade(), ss.schedules.Linear(), ss.schedules.Linear(0.0, 1.0)
    )
    with pytest.raises(ValueError, match="divides by sigma"):
        ss.forward_sde(grown, denoiser, shape=(2,), key=key)
    assert isinstance(ss.probability_flow(silent, denoiser), ControlForm)

"""The derivative form: its vector field, and that its exact solution is the flow.

The other tests of solvers take this solution for the truth, so it is checked here
against what the flow must do to densities and to moments.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.terms import CustomClock, PaperClock
from tests.solvers._cases import (
    CASES,
    blur,
    case,
    exact_flow,
    gaussian_data,
    shear,
)


def denoiser(t, x):
    return jnp.sin(x) + t


def test_drift_and_diffusion_are_the_formulas(x64, key):
    """`-C' D + (sigma sigma' + Lambda' / 2) S` and the root of `Lambda'`."""
    process = shear()
    x = np.asarray(jax.random.normal(key, (2,)))
    t, sigma = 0.7, float(process.sigma(0.7))
    shearing = np.array([[1.0, 3.0], [0.0, 0.5]])
    c = np.asarray(jax.vmap(lambda v: process.apply(t, v), out_axes=1)(jnp.eye(2)))
    c_dot = -2 * t * shearing @ c
    grown = np.log(5) * sigma**2  # sigma times its derivative: 0.2 * 5^t
    x0_hat = np.sin(x) + t
    score = (c @ x0_hat - x) / sigma**2
    s = 1 - t
    term = ss.probability_flow(process, denoiser, form="derivative")
    expected = grown * score - c_dot @ x0_hat
    np.testing.assert_allclose(term.vf(s, jnp.asarray(x), None), expected, atol=1e-12)
    for clock, rate in (("paper", 2 * grown), (lambda s: 0.3 * s + s**2, 0.3 + 2 * s)):
        term = ss.reverse_sde(
            process, denoiser, noise_clock=clock, form="derivative", shape=(2,), key=key
        )
        assert isinstance(term, diffrax.MultiTerm)
        drift, noise = term.vf(s, jnp.asarray(x), None)
        expected = (grown + rate / 2) * score - c_dot @ x0_hat
        np.testing.assert_allclose(drift, expected, atol=1e-12)
        np.testing.assert_allclose(noise.as_matrix(), np.sqrt(rate) * np.eye(2))


@pytest.mark.parametrize("name, gaussian", CASES)
def test_dopri5_transports_the_density(x64, name, gaussian):
    r"""$\log q_0(\Phi(x)) = \log q_1(x) - \log |\det \nabla\Phi(x)|$ at each start."""
    process, oracle, x1, truth = case(name, gaussian)
    ends, jacobians = exact_flow(process, oracle, x1, jnp.asarray(1e-8))
    assert np.abs(ends - truth).max() < 1e-7
    before = jax.vmap(lambda x: oracle.log_prob(process, 1.0, x))(x1)
    after = jax.vmap(lambda x: oracle.log_prob(process, 0.0, x))(ends)
    stretched = np.linalg.slogdet(jacobians)[1]
    np.testing.assert_allclose(after, before - stretched, atol=1e-6)
    if gaussian:
        # Then the flow is affine, and carries one covariance to the other.
        data = ss.oracles.GaussianOracle(oracle.means[0], oracle.covariances[0])
        start, end = (data.marginal_moments(process, t)[1] for t in (1.0, 0.0))
        carried = jacobians[0] @ start @ jacobians[0].T
        np.testing.assert_allclose(carried, end, atol=1e-7)


@eqx.filter_jit
def by_diffrax(process, oracle, solver, steps, x1):
    term = ss.probability_flow(process, oracle.denoiser(process), form="derivative")

    def one(start):
        def body(i, carry):
            x, state = carry
            ends = i / steps, (i + 1) / steps
            x, _, _, state, _ = solver.step(term, *ends, x, None, state, False)
            return x, state

        state = solver.init(term, 0.0, 1 / steps, start, None)
        return jax.lax.fori_loop(0, steps, body, (start, state))[0]

    return jax.vmap(one)(x1)


@pytest.mark.parametrize(
    "solver, order",
    [
        (diffrax.Euler(), 1),
        (diffrax.Heun(scan_kind="lax"), 2),
        (diffrax.Midpoint(scan_kind="lax"), 2),
        (diffrax.Ralston(scan_kind="lax"), 2),
    ],
    ids=["euler", "heun", "midpoint", "ralston"],
)
def test_diffrax_ode_solvers_have_their_order(x64, solver, order):
    """To the exact flow."""
    process, data = shear(), ss.oracles.GaussianOracle(jnp.ones(2), 0.5 * jnp.eye(2))
    x1 = jnp.asarray([[0.3, -1.0], [1.0, 0.5]])
    truth = np.asarray(exact_flow(process, data, x1, jnp.asarray(1e-11))[0])
    steps = (32, 64, 128, 256)
    ends = [by_diffrax(process, data, solver, jnp.asarray(n), x1) for n in steps]
    errors = [float(np.linalg.norm(end - truth)) for end in ends]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15), errors


def test_tsit5_with_adaptive_steps(x64):
    """At a tolerance of 1e-8, within 1e-7 of the flow of a mixture, as Dopri5 is."""
    process, oracle, x1, truth = case("shear", False)
    term = ss.probability_flow(process, oracle.denoiser(process), form="derivative")
    control = diffrax.PIDController(rtol=1e-8, atol=1e-8)
    solve = jax.jit(
        lambda start: diffrax.diffeqsolve(
            term, diffrax.Tsit5(), 0.0, 1.0, 0.01, start, stepsize_controller=control
        ).ys[0]
    )
    assert np.abs(solve(x1[0]) - truth[0]).max() < 1e-7


class LevyPath(diffrax.AbstractBrownianPath):
    """One step's increment and space-time Levy area, from given normals."""

    normals: jnp.ndarray
    levy_area: type = diffrax.SpaceTimeLevyArea

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return 1.0

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        width = jnp.asarray(t1 - t0)
        increment = jnp.sqrt(width) * self.normals[0]
        if not use_levy:
            return increment
        area = jnp.sqrt(width / 12) * self.normals[1]
        return diffrax.SpaceTimeLevyArea(dt=width, W=increment, H=area)


@pytest.mark.parametrize(
    "solver, order",
    [
        (diffrax.Euler(), 1),
        (diffrax.EulerHeun(), 1),
        (diffrax.ShARK(scan_kind="lax"), 2),
        (diffrax.SRA1(scan_kind="lax"), 2),
    ],
)
def test_diffrax_sde_solvers_draw_the_data(x64, solver, order):
    """Exact moments of their output, from Jacobians of their steps."""
    process, data = blur(), gaussian_data()
    clock = PaperClock(process)
    noise = jnp.zeros((2, 3))

    def step(x, normals, s0, s1):
        term = ss.reverse_sde(
            process,
            data.denoiser(process),
            noise_clock=clock,
            form="derivative",
            path=LevyPath(normals),
        )
        state = solver.init(term, s0, s1, x, None)
        return solver.step(term, s0, s1, x, None, state, False)[0]

    @jax.jit
    def run(steps):
        def body(i, moments):
            mean, covariance = moments
            ends = i / steps, (i + 1) / steps
            by_x, by_noise = jax.jacfwd(step, argnums=(0, 1))(mean, noise, *ends)
            by_noise = by_noise.reshape(3, -1)
            covariance = by_x @ covariance @ by_x.T + by_noise @ by_noise.T
            return step(mean, noise, *ends), covariance

        start = data.marginal_moments(process, 1.0)
        return jax.lax.fori_loop(0, steps, body, start)

    truth = data.marginal_moments(process, 0.0)
    steps = (32, 64, 128, 256)
    ends = [run(jnp.asarray(n)) for n in steps]
    errors = [
        float(jnp.linalg.norm(m - truth[0]) + jnp.linalg.norm(v - truth[1]))
        for m, v in ends
    ]
    slope = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(order, abs=0.15), errors
    ratio = 2**order
    assert abs(ratio * errors[-1] - errors[-2]) < 0.1 * errors[-2]


def test_noise_at_rest_has_a_finite_derivative(x64, key):
    """Where the paper's clock rests, its root has no derivative; ours is zero."""
    process = ss.soft_blur((4, 4, 1))
    term = ss.reverse_sde(
        process, denoiser, form="derivative", shape=(4, 4, 1), key=key
    )
    x = jnp.ones((4, 4, 1))
    width = lambda s: term.terms[1].vf(s, x, None).diagonal[0, 0, 0]
    assert float(width(0.5)) == 0
    assert float(jax.grad(width)(0.5)) == 0


def test_mistakes_are_named(as_a_user, x64, key):
    process = shear()
    with pytest.raises(ValueError, match="form='heun'"):
        ss.reverse_sde(process, denoiser, form="heun", shape=(2,), key=key)  # pyright: ignore
    falling = CustomClock(lambda s: -s)
    term = ss.reverse_sde(
        process, denoiser, noise_clock=falling, form="derivative", shape=(2,), key=key
    )
    with pytest.raises(Exception, match="noise clock decreases"):
        jax.block_until_ready(term.vf(0.3, jnp.ones(2), None))
    jumps = ss.Process(
        ss.corruptions.CenterMask((2,)),
        ss.schedules.Linear(),
        ss.schedules.Constant(0.1),
    )
    with pytest.raises(ValueError, match=r"`CenterMask` jumps.*form='control'"):
        ss.probability_flow(jumps, denoiser, form="derivative")
    ss.probability_flow(jumps, denoiser)

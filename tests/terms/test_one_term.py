"""One term for every solver: diffrax's and the library's reach their own order on it.

Data is Gaussian, so the truth is known: the flow in closed form where everything is
diagonal in one basis, and the moments of what a stochastic solver draws by the
Jacobians of its steps. The probability flow and the reverse SDE are made once, and no
solver gets a term of its own.
"""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.fft
from _cases import (
    STEPS,
    blur,
    check_order,
    flow,
    follow,
    gaussian_data,
    heat,
    moment_errors,
    slope,
    starts,
)

import softsde as ss

SHAPE = (3, 2, 1)


def waves():
    """The cosine basis, one image a row."""
    return scipy.fft.idctn(
        np.eye(6).reshape(6, *SHAPE), axes=(1, 2), norm="ortho"
    ).reshape(6, 6)


def stationary():
    """Gaussian images whose covariance is diagonal in the cosine basis, and that
    diagonal."""
    variances = np.array([1.5, 0.8, 0.5, 0.3, 0.2, 0.1])
    mean = np.random.default_rng(3).normal(size=SHAPE)
    covariance = waves().T @ np.diag(variances) @ waves()
    return ss.oracles.GaussianOracle(mean, covariance), variances


def heat_numbers(t):
    """Eigenvalues of `C_t`, and `sigma_t`."""
    rows, columns = np.meshgrid(np.arange(3) / 3, np.arange(2) / 2, indexing="ij")
    squared = np.pi**2 * (rows**2 + columns**2)
    return np.exp(-0.5 * (2 * t) ** 2 * squared).reshape(-1), 0.15 * 4.0**t


def exact_ends(x1):
    """The flow keeps each wave's distance from its mean, in standard deviations."""
    oracle, variances = stationary()
    mean = waves() @ np.asarray(oracle.mean).reshape(-1)
    (c, sigma), (c_end, sigma_end) = heat_numbers(1.0), heat_numbers(0.0)
    away = np.asarray(x1).reshape(-1, 6) @ waves().T - c * mean
    shrunk = np.sqrt(
        (c_end**2 * variances + sigma_end**2) / (c**2 * variances + sigma**2)
    )
    return ((c_end * mean + shrunk * away) @ waves()).reshape(x1.shape)


ODE_SOLVERS = {
    "diffrax.Euler": (diffrax.Euler(), 1, STEPS),
    "diffrax.Heun": (diffrax.Heun(scan_kind="lax"), 2, STEPS),
    "diffrax.Midpoint": (diffrax.Midpoint(scan_kind="lax"), 2, STEPS),
    "diffrax.Tsit5": (diffrax.Tsit5(scan_kind="lax"), 5, (8, 16, 32, 64)),
    "diffrax.Dopri5": (diffrax.Dopri5(scan_kind="lax"), 5, (8, 16, 32, 64)),
    "Momentum": (ss.Momentum(), 1, STEPS),
    "DDIM": (ss.DDIM(), 1, STEPS),
    "Heun": (ss.Heun(), 2, STEPS),
    "normalised Heun": (ss.Heun("normalised"), 2, STEPS),
    "EDMHeun": (ss.EDMHeun(), 2, STEPS),
    "Multistep": (ss.Multistep(), 2, STEPS),
}


def lanes(names, slow):
    return [pytest.param(n, marks=[pytest.mark.slow] * (n in slow)) for n in names]


@pytest.mark.parametrize("name", lanes(ODE_SOLVERS, ["diffrax.Midpoint"]))
def test_orders_on_the_flow(x64, name):
    """They are measured on images under the heat equation, to the closed form."""
    solver, order, steps = ODE_SOLVERS[name]
    process, (oracle, _) = heat(), stationary()
    x1 = starts(process, oracle, 4, jax.random.key(2))
    truth = exact_ends(x1)
    denoiser = oracle.denoiser(process)
    ends = [flow(denoiser, solver, jnp.asarray(n), x1) for n in steps]
    errors = [float(np.sqrt(np.mean((end - truth) ** 2))) for end in ends]
    if order == 5:
        assert slope(steps, errors) > 4.7, errors
        assert errors[-1] < 1e-7, errors
    else:
        check_order(errors, order, steps)


LAX = dict(scan_kind="lax")
SDE_SOLVERS = {
    "diffrax.Euler": (diffrax.Euler(), 1),
    "diffrax.EulerHeun": (diffrax.EulerHeun(), 1),
    # Stochastic Runge-Kutta methods for additive noise: of strong order 1.5, and of
    # weak order 2 on a drift that is linear in the state, as it is for Gaussian data.
    "diffrax.ShARK": (diffrax.ShARK(**LAX), 2),
    "diffrax.SRA1": (diffrax.SRA1(**LAX), 2),
    "Momentum": (ss.Momentum(), 1),
    "Heun": (ss.Heun(), 2),
    "normalised Heun": (ss.Heun("normalised"), 2),
    "Multistep": (ss.Multistep(), 2),
    "Multistep(1)": (ss.Multistep(order=1), 1),
}


ALIKE = ["diffrax.EulerHeun", "diffrax.SRA1", "normalised Heun", "Multistep(1)"]


@pytest.mark.parametrize(
    "corruption, name",
    [
        pytest.param(
            corruption,
            name,
            marks=[pytest.mark.slow] * (corruption == "heat" and name in ALIKE),
        )
        for corruption in ("heat", "blur")
        for name in SDE_SOLVERS
    ],
)
def test_weak_orders_on_the_reverse_sde(x64, corruption, name):
    """Mean and covariance of what is drawn, to those of the data: of images, and of
    operators that commute neither with each other nor with the data."""
    solver, order = SDE_SOLVERS[name]
    if corruption == "heat":
        process, oracle = heat(), stationary()[0]
    else:
        process, oracle = blur(), gaussian_data()
    check_order(moment_errors(solver, "sde", process=process, oracle=oracle), order)


class Ends(diffrax.AbstractBrownianPath):
    """A path with as many normals as there are steps of a warped grid of 8."""

    normals: jnp.ndarray
    levy_area: type = diffrax.BrownianIncrement

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return 1.0

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        i = jnp.argmin(jnp.abs(warped() - t0))
        return jnp.sqrt(jnp.asarray(t1 - t0)) * self.normals[i]


def warped(steps=8):
    u = jnp.arange(steps + 1) / steps
    return u + 0.1 * jnp.sin(2 * jnp.pi * u)


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [diffrax.Euler(), ss.Multistep()], ids=["diffrax.Euler", "Multistep"]
)
def test_diffeqsolve_takes_the_same_steps(x64, key, solver):
    """The bare loops of the other tests against diffrax's own."""
    process = blur()
    denoiser = gaussian_data().denoiser(process)
    normals = jax.random.normal(key, (8, 3))
    for term in (
        ss.probability_flow(denoiser),
        ss.reverse_sde(denoiser, clock=ss.clocks.Churn(2.0), path=Ends(normals)),
    ):
        solution = diffrax.diffeqsolve(
            term,
            solver,
            0.0,
            1.0,
            None,
            jnp.ones(3),
            stepsize_controller=diffrax.StepTo(warped()),
            adjoint=diffrax.ForwardMode(),
        )
        expected = follow(term, solver, jnp.asarray(8), jnp.ones(3))
        np.testing.assert_allclose(solution.ys[0], expected, atol=1e-12)


@pytest.mark.slow
def test_half_solver_takes_two_half_steps(x64, key):
    """So on one path it is `Momentum` with twice the steps."""
    denoiser = gaussian_data().denoiser(blur())
    tree = diffrax.VirtualBrownianTree(0.0, 1.0, 2.0**-10, (3,), key)
    term = ss.reverse_sde(denoiser, path=tree)
    solve = lambda solver, steps: diffrax.diffeqsolve(
        term,
        solver,
        0.0,
        1.0,
        1 / steps,
        jnp.ones(3),
        adjoint=diffrax.ForwardMode(),
    ).ys[0]
    halves = solve(diffrax.HalfSolver(ss.Momentum()), 8)
    np.testing.assert_allclose(halves, solve(ss.Momentum(), 16), atol=1e-12)


@pytest.mark.slow
def test_half_solver_on_the_flow(x64):
    """It is of order 1, with an error estimate by which steps adapt."""
    process, (oracle, _) = heat(), stationary()
    x1 = starts(process, oracle, 4, jax.random.key(2))
    truth, denoiser = exact_ends(x1), oracle.denoiser(process)
    solver = diffrax.HalfSolver(ss.Momentum())
    ends = [flow(denoiser, solver, jnp.asarray(n), x1) for n in STEPS]
    errors = [float(np.sqrt(np.mean((end - truth) ** 2))) for end in ends]
    check_order(errors, 1)
    adaptive = diffrax.diffeqsolve(
        ss.probability_flow(denoiser),
        solver,
        0.0,
        1.0,
        0.01,
        x1[0],
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-5),
    )
    assert np.abs(adaptive.ys[0] - truth[0]).max() < 3e-3
    # The error is of the order of the tolerance's root, as the order is 1.
    assert 100 < int(adaptive.stats["num_accepted_steps"]) < 4000


def test_float32_reaches_the_closed_form():
    """A user runs it so: 1,000 steps in single precision."""
    process, (oracle, _) = heat(), stationary()
    x1 = starts(process, oracle, 1, jax.random.key(2))
    end = flow(oracle.denoiser(process), ss.Multistep(), jnp.asarray(1000), x1)
    assert end.dtype == jnp.float32
    np.testing.assert_allclose(end, exact_ends(x1), atol=2e-5)

"""The drift and the diffusion of the terms: their formulas, and what they keep.

The other tests of solvers take the flow by Dopri5 for the truth, so it is checked here
against what the flow must do to densities and to moments.
"""

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import (
    CASES,
    STEPS,
    blur,
    case,
    check_order,
    exact_flow,
    flow_errors,
    mixture,
    moment_errors,
    one_step,
    shear,
    shear_numbers,
    slope,
    starts,
    wavy,
)

import softsde as ss

SHEARING = np.array([[1.0, 3.0], [0.0, 0.5]])


def path():
    return diffrax.UnsafeBrownianPath((2,), jax.random.key(0))


# Of the shear sigma_t = 0.2 * 5^t, so its derivative is log(5) sigma.
RATES = {
    "ode": ("ode", lambda t: 0.0),
    "sde": ("sde", lambda t: 2 * np.log(5)),
    "churn": (ss.clocks.Churn(7.0), lambda t: 2 * np.log(5) + 7.0),
    "own": (ss.clocks.Custom(lambda t: 0.3 * t + t**2), lambda t: 0.3 * t + t**2),
}


@pytest.mark.parametrize("forward", [False, True], ids=["back", "forward"])
@pytest.mark.parametrize("name", RATES)
def test_drift_and_diffusion_are_the_formulas(x64, key, name, forward):
    r"""$\mp (\dot C D - \sigma\dot\sigma S) + \tfrac12 \dot\Lambda S$, and the root of
    $\dot\Lambda$, by matrices."""
    clock, rate = RATES[name]
    denoiser = wavy(shear())
    x = np.asarray(jax.random.normal(key, (2,)))
    t = 0.7
    c, sigma = shear_numbers(t)
    c_dot = -2 * t * SHEARING @ c
    x0_hat = np.sin(x) + t
    score = (c @ x0_hat - x) / sigma**2
    velocity = c_dot @ x0_hat - np.log(5) * sigma**2 * score
    injected = rate(t) * sigma**2
    expected = (velocity if forward else -velocity) + 0.5 * injected * score
    make, s = (ss.forward_sde, t) if forward else (ss.reverse_sde, 1 - t)
    term = make(denoiser, clock=clock, path=path())
    drift, noise = term.vf(s, jnp.asarray(x), None)
    np.testing.assert_allclose(drift, expected, atol=1e-12)
    np.testing.assert_allclose(
        noise.as_matrix(), np.sqrt(injected) * np.eye(2), atol=1e-12
    )
    if name == "ode":
        flow = ss.probability_flow(denoiser, forward=forward)
        np.testing.assert_allclose(flow.vf(s, jnp.asarray(x), None), drift)


def test_the_forward_drift_is_the_papers(x64, key):
    r"""Eq. 13: $\dot C_t D$ and $\sqrt{d\sigma^2/dt}$, with no score."""
    process = shear()
    x = jax.random.normal(key, (2,))
    drift, noise = ss.forward_sde(wavy(process), path=path()).vf(0.7, x, None)
    c, sigma = shear_numbers(0.7)
    expected = -1.4 * SHEARING @ c @ (np.sin(x) + 0.7)
    np.testing.assert_allclose(drift, expected, atol=1e-12)
    width = np.sqrt(2 * np.log(5)) * sigma
    np.testing.assert_allclose(noise.diagonal, width * np.ones(2), atol=1e-12)


def test_a_term_is_bilinear(x64, key):
    """diffrax's solvers take it for granted: stages are sums of `prod`s."""
    term = ss.probability_flow(wavy(shear()))
    assert isinstance(term, diffrax.AbstractTerm)
    x = jax.random.normal(key, (2,))
    a, b = term.vf(0.2, x, None), term.vf(0.4, 2 * x, None)
    left, right = term.contr(0.2, 0.3), term.contr(0.3, 0.6)
    np.testing.assert_allclose(
        term.prod(2 * a + b, left), 2 * term.prod(a, left) + term.prod(b, left)
    )
    np.testing.assert_allclose(
        term.prod(a, left + right), term.prod(a, term.contr(0.2, 0.6)), rtol=1e-14
    )


@pytest.mark.parametrize(
    "name, gaussian",
    [
        pytest.param(*c, marks=() if c[0] == "shear" else pytest.mark.slow)
        for c in CASES
    ],
)
def test_dopri5_transports_the_density(x64, name, gaussian):
    r"""$\log q_0(\Phi(x)) = \log q_1(x) - \log |\det \nabla\Phi(x)|$ at each start."""
    denoiser, x1, truth = case(name, gaussian)
    process, oracle = denoiser.process, denoiser.oracle
    one = lambda start: exact_flow(denoiser, start[None])[0]
    jacobians = jax.jit(jax.vmap(jax.jacfwd(one)))(x1)
    before = jax.vmap(lambda x: oracle.log_prob(process, 1.0, x))(x1)
    after = jax.vmap(lambda x: oracle.log_prob(process, 0.0, x))(jnp.asarray(truth))
    stretched = np.linalg.slogdet(jacobians)[1]
    np.testing.assert_allclose(after, before - stretched, atol=1e-6)
    if gaussian:
        # Then the flow is affine, and carries one covariance to the other.
        data = ss.oracles.GaussianOracle(oracle.means[0], oracle.covariances[0])
        start, end = (data.marginal_moments(process, t)[1] for t in (1.0, 0.0))
        carried = jacobians[0] @ start @ jacobians[0].T
        np.testing.assert_allclose(carried, end, atol=1e-7)


@pytest.mark.slow
def test_tsit5_with_adaptive_steps(x64):
    """At a tolerance of 1e-8, within 1e-7 of the flow of a mixture, as Dopri5 is."""
    denoiser, x1, truth = case("shear", False)
    control = diffrax.PIDController(rtol=1e-8, atol=1e-8)
    end = diffrax.diffeqsolve(
        ss.probability_flow(denoiser),
        diffrax.Tsit5(),
        0.0,
        1.0,
        0.01,
        x1[0],
        stepsize_controller=control,
    ).ys[0]
    assert np.abs(end - truth[0]).max() < 1e-7


@pytest.mark.parametrize(
    "solver, order",
    [
        (ss.Momentum(), 1),
        (ss.Heun(), 2),
        (ss.Heun("normalised"), 2),
        (ss.Multistep(), 2),
        (ss.DDIM(), 1),
        (diffrax.Heun(scan_kind="lax"), 2),
    ],
    ids=["momentum", "heun", "normalised heun", "multistep", "ddim", "diffrax.Heun"],
)
def test_orders_of_the_flow_forward_in_time(x64, solver, order):
    """From the data to the very start that the exact flow takes to it."""
    errors = flow_errors("blur", False, solver, forward=True)
    assert slope(STEPS, errors) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(
    "solver, clock, order",
    [
        (ss.Momentum(), "sde", 1),
        (ss.Heun(), ss.clocks.Churn(3.0), 2),
        (diffrax.ShARK(scan_kind="lax"), "sde", 2),
    ],
    ids=["momentum", "heun", "shark"],
)
def test_the_forward_sde_reaches_the_marginal(x64, solver, clock, order):
    """Exact moments of what is drawn: to the right limit."""
    check_order(moment_errors(solver, clock, forward=True), order)


@pytest.mark.slow
def test_forward_and_back_is_the_identity(x64):
    """The latent of a sample, by two solves that meet within their error."""
    process, oracle = blur(), mixture(3)
    x0 = starts(process, oracle, 1, jax.random.key(3))[0]

    def run(forward, start):
        return diffrax.diffeqsolve(
            ss.probability_flow(oracle.denoiser(process), forward=forward),
            diffrax.Dopri5(),
            0.0,
            1.0,
            0.01,
            start,
            stepsize_controller=diffrax.PIDController(rtol=1e-10, atol=1e-10),
        ).ys[0]

    np.testing.assert_allclose(run(False, run(True, x0)), x0, atol=1e-7)


def test_noise_at_rest_has_a_finite_derivative(x64, key):
    """The root of the paper's clock has no derivative where it rests; ours is zero."""
    process = ss.soft_blur((4, 4, 1))
    term = ss.reverse_sde(wavy(process), shape=(4, 4, 1), key=key)
    x = jnp.ones((4, 4, 1))
    width = lambda s: term.terms[1].vf(s, x, None).diagonal[0, 0, 0]
    assert float(width(0.5)) == 0
    assert float(jax.grad(width)(0.5)) == 0


def test_a_condition_is_the_args_of_diffrax(x64):
    """The denoiser gets it. From the solvers of the library: see `test_contract.py`."""
    process = shear()
    told = ss.FunctionDenoiser(lambda t, x, condition: condition * jnp.sin(x), process)
    known = ss.FunctionDenoiser(lambda t, x: 3.0 * jnp.sin(x), process)
    ends = [
        diffrax.diffeqsolve(
            ss.probability_flow(denoiser),
            diffrax.Heun(),
            0.0,
            1.0,
            0.25,
            jnp.ones(2),
            args,
        ).ys[0]
        for denoiser, args in ((told, jnp.asarray(3.0)), (known, None))
    ]
    np.testing.assert_array_equal(*ends)


# Corruptions that jump.


class Reveal(ss.corruptions.AbstractCorruption):
    """Hides the second component at once, and does not say so."""

    def apply(self, theta, x):
        return jnp.stack([x[0], jnp.where(theta < 0.5, x[1], 0 * x[1])])


def masked(corruption):
    return wavy(
        ss.Process(corruption, ss.schedules.Linear(), ss.schedules.Constant(0.1))
    )


def solve(term, solver, x=None):
    x = jnp.ones(2) if x is None else x
    return diffrax.diffeqsolve(
        term, solver, 0.0, 1.0, 0.25, x, adjoint=diffrax.ForwardMode()
    ).ys[0]


@pytest.mark.parametrize(
    "corruption", [ss.corruptions.CenterMask((2,)), Reveal()], ids=["said", "not said"]
)
def test_a_jump_is_refused_to_solvers_that_differentiate(
    as_a_user, x64, key, corruption
):
    """Solvers of the library go from operator to operator, and step it."""
    denoiser = masked(corruption)
    name = type(corruption).__name__
    for term, solver in (
        (ss.probability_flow(denoiser), diffrax.Euler()),
        (ss.probability_flow(denoiser), diffrax.Tsit5()),
        (ss.reverse_sde(denoiser, shape=(2,), key=key), diffrax.EulerHeun()),
    ):
        with pytest.raises(ValueError, match=f"`{name}` jumps.*solver of softsde"):
            solve(term, solver)
    if corruption.structure.differentiable is False:
        vf = ss.probability_flow(denoiser).vf
        with pytest.raises(Exception, match=f"`{name}` jumps.*`Momentum"):
            jax.block_until_ready(vf(0.2, jnp.ones(2), None))
    # With constant noise a step of Momentum is that of Cold Diffusion.
    expected = np.ones(2)
    apply = lambda t, x: np.asarray(denoiser.process.apply(t, jnp.asarray(x)))
    for t in (1.0, 0.75, 0.5, 0.25):
        x0_hat = np.sin(expected) + t
        expected = expected + apply(t - 0.25, x0_hat) - apply(t, x0_hat)
    got = solve(ss.probability_flow(denoiser), ss.Momentum())
    np.testing.assert_allclose(got, expected, atol=1e-12)


def test_a_jump_that_only_running_can_see_is_refused_then(as_a_user, x64):
    """The levels are traced, and the corruption says nothing."""

    @eqx.filter_jit
    def run(denoiser, solver):
        return solve(ss.probability_flow(denoiser), solver)

    def traced(corruption):
        levels = ss.schedules.PiecewiseLinear(
            jnp.linspace(0, 1, 3), jnp.linspace(0, 1, 3)
        )
        process = ss.Process(corruption, levels, ss.schedules.Constant(0.1))
        fn = lambda t, x: jnp.sin(x) + t
        return ss.FunctionDenoiser(fn, process, train_process=True)

    with pytest.raises(Exception, match="`Reveal` jumps"):
        jax.block_until_ready(run(traced(Reveal()), diffrax.Euler()))
    jax.block_until_ready(run(traced(Reveal()), ss.Momentum()))
    jax.block_until_ready(run(traced(ss.corruptions.Fade()), diffrax.Euler()))


# Without noise.


def test_without_noise_a_step_is_cold_diffusions(x64, key):
    """Bansal et al., Algorithm 2: `x - C D + C' D`, also for operators that jump."""
    process = ss.cold(ss.corruptions.CenterMask((5,)), ss.schedules.Linear())
    denoiser = wavy(process)
    x = expected = jax.random.normal(key, (5,))
    for t, t_to in ((1.0, 0.75), (0.75, 0.5), (0.5, 0.25), (0.25, 0.0)):
        x0_hat = denoiser(t, expected)
        kept = process.apply(t_to, x0_hat) - process.apply(t, x0_hat)
        expected = expected + kept
    for solver, clock in (
        (ss.Momentum(), "sde"),
        (ss.DDIM(), "ode"),
        (ss.DDIM(k=0.3), "ode"),
        (ss.Multistep(order=1), "sde"),
    ):
        term = ss.reverse_sde(denoiser, clock=clock, shape=(5,), key=key)
        got = x
        for s in (0.0, 0.25, 0.5, 0.75):
            got = one_step(solver, term, got, s, s + 0.25)
        np.testing.assert_allclose(got, expected, atol=1e-12)


# Mistakes.


def test_backwards_is_refused(as_a_user, x64, key):
    back = lambda term, solver: diffrax.diffeqsolve(
        term, solver, 1.0, 0.0, -0.1, jnp.ones(2), adjoint=diffrax.ForwardMode()
    )
    denoiser = wavy(shear())
    flow = ss.probability_flow(denoiser)
    sde = ss.reverse_sde(denoiser, shape=(2,), key=key)
    for term, solver in (
        (flow, ss.Momentum()),
        (sde, ss.Heun()),
        (sde, diffrax.EulerHeun()),
    ):
        with pytest.raises(Exception, match="from a later time to an earlier"):
            jax.block_until_ready(back(term, solver).ys)


def test_mistakes_are_named(as_a_user, x64, key):
    process = shear()
    denoiser = wavy(process)
    for make in (ss.probability_flow, ss.reverse_sde, ss.forward_sde):
        with pytest.raises(TypeError, match=r"got function.*FunctionDenoiser\(fn, "):
            make(lambda t, x: x)
    with pytest.raises(ValueError, match=r"`shape=` of one sample and `key=`"):
        ss.reverse_sde(denoiser)
    with pytest.raises(ValueError, match="not both"):
        ss.reverse_sde(denoiser, path=path(), key=key)
    with pytest.raises(ValueError, match=r"Unknown clock 'song'.*'sde'"):
        ss.reverse_sde(denoiser, clock="song", shape=(2,), key=key)  # pyright: ignore
    with pytest.raises(TypeError, match=r"for a clock.*clocks\.Custom\(rate\)"):
        ss.reverse_sde(denoiser, clock=lambda t: t, shape=(2,), key=key)  # pyright: ignore
    falling = ss.clocks.Custom(lambda t: -t)
    term = ss.reverse_sde(denoiser, clock=falling, shape=(2,), key=key)
    for solver in (diffrax.Euler(), ss.Momentum()):
        with pytest.raises(Exception, match="rate of a `Custom` clock is negative"):
            jax.block_until_ready(one_step(solver, term, jnp.ones(2), 0.2, 0.3))


def test_noise_that_has_no_score_is_refused(as_a_user, x64, key):
    fade = ss.corruptions.Fade()
    silent = wavy(ss.cold(fade, ss.schedules.Linear()))
    for clock in (ss.clocks.Custom(lambda t: t), ss.clocks.Churn(3.0)):
        with pytest.raises(ValueError, match=r"a process without noise.*clock='ode'"):
            ss.reverse_sde(silent, clock=clock, shape=(2,), key=key)
    ss.reverse_sde(silent, shape=(2,), key=key)
    ss.probability_flow(silent)
    grown = wavy(ss.Process(fade, ss.schedules.Linear(), ss.schedules.Linear(0.0, 1.0)))
    for make in (ss.probability_flow, ss.forward_sde, ss.reverse_sde):
        with pytest.raises(ValueError, match="divides by sigma"):
            make(grown) if make is ss.probability_flow else make(
                grown, shape=(2,), key=key
            )

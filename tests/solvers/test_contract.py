"""Every solver draws noise, costs and passes on the condition as it says, and refuses a
term that does not suit it."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from _cases import blur, one_step, preserving, wavy

import softsde as ss
from softsde.solvers import AbstractSolver, count_evaluations

LOG_PROB = lambda t, x: 0.0 * jnp.sum(x)
CHAIN = ss.AnnealedLangevin((0.8, 0.2), 1e-3, steps=2)

# A solver, where its noise comes from, and how often a step evaluates the denoiser.
SOLVERS = {
    "Momentum": (ss.Momentum(), "clock", 1),
    "Naive": (ss.Naive(), "own", 1),
    "DDIM": (ss.DDIM(), "none", 1),
    "DDIM(eta)": (ss.DDIM(0.5), "own", 1),
    "DDIM(k)": (ss.DDIM(k=0.1), "own", 1),
    "DDIM(k=0)": (ss.DDIM(k=0.0), "none", 1),
    "Ancestral": (ss.Ancestral(), "own", 1),
    "Heun": (ss.Heun(), "clock", 2),
    "normalised Heun": (ss.Heun("normalised"), "clock", 2),
    "Multistep": (ss.Multistep(), "clock", 1),
    "Multistep(1)": (ss.Multistep(order=1), "clock", 1),
    "EDMHeun": (ss.EDMHeun(), "none", 2),
    "EDMHeun(churn)": (ss.EDMHeun(3.0), "own", 2),
    "Langevin": (ss.Langevin(1e-3, steps=3), "own", 3),
    "Langevin(snr)": (ss.Langevin(snr=0.1, steps=3), "own", 3),
    "MALA": (ss.Langevin(1e-3, steps=3, metropolis=LOG_PROB), "own", 4),
    "MALA(score)": (ss.Langevin(1e-3, steps=3, metropolis="score"), "own", 7),
    "AnnealedLangevin": (CHAIN, "own", 2),
    "flow pair": (
        ss.PredictorCorrector(ss.DDIM(), ss.MomentumCorrector()),
        "none",
        2,
    ),
    "Song's pair": (
        ss.PredictorCorrector(ss.Momentum(), ss.Langevin(snr=0.1, steps=2)),
        "clock",
        3,
    ),
    "pair on the flow": (ss.PredictorCorrector(ss.DDIM(), CHAIN), "own", 3),
    "pair of its own": (ss.PredictorCorrector(ss.Naive(), CHAIN), "own", 3),
}
OF_A_KIND = {
    kind: [name for name, (_, noise, _) in SOLVERS.items() if noise == kind]
    for kind in ("clock", "own", "none")
}


def of_scalings(name):
    return name == "EDMHeun(churn)"


def process_for(name):
    return preserving() if of_scalings(name) else blur()


def noisy(denoiser, key, clock="ode"):
    return ss.reverse_sde(denoiser, clock=clock, shape=(3,), key=key)


def evaluations(denoise, run):
    """Counts how often `denoise` is evaluated by what `run` makes of it."""
    calls = []

    def counted(t, x):
        jax.debug.callback(lambda _: calls.append(1), t)
        return denoise(t, x)

    jax.block_until_ready(run(counted))
    jax.effects_barrier()
    return len(calls)


@pytest.mark.parametrize("name", SOLVERS)
def test_noise_and_evaluations(x64, key, name):
    """As they say, and as counted: in a second step, as the first of annealed Langevin
    runs two chains."""
    solver, noise, number = SOLVERS[name]
    assert isinstance(solver, AbstractSolver)
    assert solver.noise == noise and solver.evaluations_per_step == number
    assert count_evaluations(solver, 10) == number * (11 if solver is CHAIN else 10)
    x, seen = jnp.ones(3), []

    def run(denoise):
        term = noisy(ss.FunctionDenoiser(denoise, process_for(name)), key)
        state = solver.init(term, 0.2, 0.4, x, None)
        if solver is CHAIN:
            state = solver.step(term, 0.1, 0.2, x, None, state, False)[3]
            jax.block_until_ready(state)
            jax.effects_barrier()
            seen.append(2 * number)
        return solver.step(term, 0.2, 0.4, x, None, state, False)[0]

    assert evaluations(lambda t, x: 0.5 * x, run) - sum(seen) == number


def test_orders_are_those_that_are_measured():
    """diffrax chooses steps by the order it is told: that on the flow, and the strong
    order. The tests of each solver measure them."""
    expected = {
        "Momentum": (1, 1),
        "Heun": (2, 1),
        "normalised Heun": (2, 1),
        "Multistep": (2, 1),
        "Multistep(1)": (1, 1),
        "DDIM": (1, None),
        "DDIM(eta)": (1, None),
        "DDIM(k=0)": (1, None),
        "Ancestral": (1, None),
        "EDMHeun": (2, None),
        "EDMHeun(churn)": (2, None),
    }
    for name, (solver, _, _) in SOLVERS.items():
        told = solver.order(None), solver.strong_order(None)
        assert told == expected.get(name, (None, None)), name


@pytest.mark.parametrize("name", SOLVERS)
def test_noise_is_drawn_where_it_says(x64, key, name):
    """Another key changes the step of a solver that draws; on the flow, of those alone
    that draw noise of their own."""
    solver, noise, _ = SOLVERS[name]
    denoiser = wavy(process_for(name))

    def changes(clock):
        ends = [
            one_step(
                solver,
                noisy(denoiser, jax.random.fold_in(key, i), clock),
                jnp.ones(3),
                0.2,
                0.4,
            )
            for i in range(2)
        ]
        return not np.array_equal(*ends)

    draws = noise == "own" or name == "Song's pair"
    assert changes("ode") == draws
    if noise == "clock":
        assert changes("sde")


@pytest.mark.parametrize(
    "name",
    [
        "Momentum",
        "Naive",
        "DDIM(eta)",
        "Heun",
        "normalised Heun",
        "Multistep",
        "EDMHeun(churn)",
        "MALA(score)",
        "AnnealedLangevin",
        "flow pair",
        "Song's pair",
    ],
)
def test_a_condition_reaches_the_denoiser(x64, key, name):
    """As diffrax's `args`: the step is that of a denoiser which knows it."""
    solver = SOLVERS[name][0]
    process = process_for(name)
    told = ss.FunctionDenoiser(lambda t, x, condition: condition * jnp.sin(x), process)
    known = ss.FunctionDenoiser(lambda t, x: 3.0 * jnp.sin(x), process)
    ends = [
        one_step(solver, noisy(denoiser, key), jnp.ones(3), 0.2, 0.4, condition)
        for denoiser, condition in ((told, jnp.asarray(3.0)), (known, None))
    ]
    np.testing.assert_array_equal(*ends)


@pytest.mark.parametrize("name", OF_A_KIND["own"] + OF_A_KIND["none"])
def test_a_clock_that_would_be_ignored_is_refused(as_a_user, x64, key, name):
    solver = SOLVERS[name][0]
    owner = type(solver).__name__
    denoiser = wavy(process_for(name))
    instead = (
        "probability_flow" if name in OF_A_KIND["none"] else r"clock='ode', key=key"
    )
    for clock in ("sde", ss.clocks.Churn(3.0), ss.clocks.Custom(lambda t: t)):
        term = noisy(denoiser, key, clock)
        with pytest.raises(ValueError, match=f"`{owner}`.*would ignore.*{instead}"):
            solver.init(term, 0.0, 0.1, jnp.ones(3), None)


@pytest.mark.parametrize("name", [*OF_A_KIND["own"], "Song's pair"])
def test_a_flow_has_no_noise_for_those_who_draw(as_a_user, x64, name):
    solver = SOLVERS[name][0]
    owner = "Langevin" if name == "Song's pair" else type(solver).__name__
    term = ss.probability_flow(wavy(process_for(name)))
    with pytest.raises(ValueError, match=f"`{owner}` draws noise of its own.*key=key"):
        solver.init(term, 0.0, 0.1, jnp.ones(3), None)


@pytest.mark.parametrize("name", ["Momentum", "Multistep", "EDMHeun", "Song's pair"])
def test_another_term_is_refused(as_a_user, x64, key, name):
    solver = SOLVERS[name][0]
    ode = diffrax.ODETerm(lambda t, y, args: -y)
    path = diffrax.UnsafeBrownianPath((3,), key)
    for term in (ode, diffrax.MultiTerm(ode, diffrax.ControlTerm(lambda *_: 1, path))):
        with pytest.raises(
            TypeError, match=r"steps a term of softsde, got ODETerm.*rev"
        ):
            solver.init(term, 0.0, 0.1, jnp.ones(3), None)


DIFFRAX = {
    "Euler": (diffrax.Euler(), False, 3),
    "EulerHeun": (diffrax.EulerHeun(), True, 3),
    # Two stages a step, of which none is kept for the next.
    "Heun": (diffrax.Heun(), False, 6),
    # First same as last: six a step, and one at the start.
    "Tsit5": (diffrax.Tsit5(), False, 19),
    "ShARK": (diffrax.ShARK(), True, 6),
    "SRA1": (diffrax.SRA1(), True, 6),
    "HalfSolver": (diffrax.HalfSolver(ss.Momentum()), False, 9),
}


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("Euler", "HalfSolver")
        else pytest.param(name, marks=pytest.mark.slow)
        for name in DIFFRAX
    ],
)
def test_evaluations_of_diffrax_are_counted(x64, key, name):
    """Three steps of `diffeqsolve`; what it evaluates beside them is the first stage
    of a method that keeps its last."""
    solver, stochastic, number = DIFFRAX[name]
    area = diffrax.SpaceTimeLevyArea
    path = diffrax.UnsafeBrownianPath((3,), key, area)

    def run(denoise):
        denoiser = ss.FunctionDenoiser(denoise, blur())
        term = ss.probability_flow(denoiser)
        if stochastic:
            term = ss.reverse_sde(denoiser, path=path)
        return diffrax.diffeqsolve(
            term, solver, 0.0, 1.0, 1 / 3, jnp.ones(3), adjoint=diffrax.ForwardMode()
        ).ys

    assert count_evaluations(solver, 3) == number
    assert evaluations(lambda t, x: 0.5 * x, run) == number


def test_a_solver_that_does_not_tell_is_not_guessed():
    assert count_evaluations(diffrax.ReversibleHeun(), 3) is None
    assert count_evaluations(diffrax.HalfSolver(diffrax.ReversibleHeun()), 3) is None


@pytest.mark.parametrize("name", SOLVERS)
def test_float32_stays_float32(x64, key, name):
    """The state's dtype, with x64 on: no step changes it."""
    solver = SOLVERS[name][0]
    term = noisy(wavy(process_for(name)), key)
    x, ends = jnp.ones(3, jnp.float32), (jnp.float32(0.2), jnp.float32(0.4))
    out = jax.eval_shape(lambda x: one_step(solver, term, x, *ends), x)
    assert out.dtype == jnp.float32 and out.shape == (3,)

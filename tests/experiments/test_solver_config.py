"""The samplers that options name, and those that are compared."""

import jax
import pytest

import softsde as ss
from experiments import samplers
from experiments._solvers import SolverConfig

SAID = {
    "momentum": (SolverConfig(7, "momentum", "ode"), ss.Momentum(), "ode"),
    "edm": (SolverConfig(7, "edm"), ss.EDMHeun(), None),
    "ancestral": (SolverConfig(7, "ancestral"), ss.DDIM(eta=1.0), None),
    "ddim": (SolverConfig(7, "ddim"), ss.DDIM(), None),
    "naive": (SolverConfig(7, "naive"), ss.Naive(), None),
    "heun": (SolverConfig(7, "heun", "sde"), ss.Heun(), "sde"),
    "heun_normalised": (
        SolverConfig(7, "heun_normalised"),
        ss.Heun("normalised"),
        None,
    ),
    "multistep": (
        SolverConfig(7, "multistep", churn=3.0),
        ss.Multistep(),
        ss.clocks.Churn(3.0),
    ),
    "options": (
        SolverConfig(7, "DDIM(eta=0.5)"),
        ss.DDIM(eta=0.5),
        None,
    ),
    "clock": (
        SolverConfig(7, "Heun(coordinates='normalised')", "Churn(2.0)"),
        ss.Heun("normalised"),
        ss.clocks.Churn(2.0),
    ),
    "corrector": (
        SolverConfig(
            7, "PredictorCorrector(predictor=Naive, corrector=Langevin(snr=0.1))"
        ),
        ss.PredictorCorrector(ss.Naive(), ss.Langevin(snr=0.1)),
        None,
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_the_samplers_are_the_library_s(name):
    config, solver, clock = SAID[name]
    expected = {"num_steps": 7, "solver": solver}
    if clock is not None:
        expected["clock"] = clock
    assert config.options() == expected


def test_options_that_are_left_out_are_the_experiment_s():
    experiment = SolverConfig(30, "momentum", churn=5.0)
    assert SolverConfig().completed(experiment) == experiment
    assert SolverConfig().completed(None) == SolverConfig()
    assert SolverConfig().options() == {}
    said = SolverConfig(10, "heun", churn=0.0)
    assert said.completed(experiment) == said
    # A solver is not given the noise that was chosen for another.
    assert SolverConfig(solver="naive").completed(experiment) == SolverConfig(
        30, "naive"
    )
    assert SolverConfig(clock="ode").completed(experiment) == SolverConfig(
        30, "momentum", "ode"
    )
    assert SolverConfig(solver="heun").completed(experiment).churn is None


def test_noise_is_for_solvers_that_follow_a_clock():
    for wrong in ({"churn": 1.0}, {"clock": "sde"}):
        with pytest.raises(
            ValueError, match="`--solver naive` does not follow a clock"
        ):
            SolverConfig(solver="naive", **wrong)
    with pytest.raises(ValueError, match="Give one of them"):
        SolverConfig(clock="ode", churn=1.0)
    with pytest.raises(ValueError, match="at least 0"):
        SolverConfig(churn=-1.0)
    with pytest.raises(ValueError, match="at least 1"):
        SolverConfig(steps=0)


@pytest.mark.parametrize(
    "name",
    [
        # One of them here; the others wait for the slow lane.
        pytest.param(name, marks=() if name in kept else pytest.mark.slow)
        for kept in [("Multistep, churn",)]
        for name in samplers.SAMPLERS
    ],
)
def test_compared_samplers_cost_what_was_asked_for(name, run):
    options = samplers.solver_config(name, 4).options()
    model = ss.load(run)
    drawn = ss.sample(
        model.denoiser,
        prior=model.prior,
        num_samples=1,
        key=jax.random.key(0),
        **options,
    )
    # The last prediction is not counted.
    assert drawn.nfe == 4 + 1
    # Churn goes no further than half the number of steps.
    if isinstance(clock := options.get("clock"), ss.clocks.Churn):
        assert clock.amount == options["num_steps"] / 2

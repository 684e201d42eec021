"""The samplers that the commands offer, as one group of options."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import softsde as ss

SolverName = Literal[
    "momentum",
    "ddim",
    "multistep",
    "heun",
    "heun_normalised",
    "naive",
    "edm",
    "ancestral",
]

SOLVERS: dict[str, ss.solvers.AbstractSolver] = {
    "momentum": ss.Momentum(),
    "ddim": ss.DDIM(),
    "multistep": ss.Multistep(),
    "heun": ss.Heun(),
    "heun_normalised": ss.Heun("normalised"),
    "naive": ss.Naive(),
    "edm": ss.EDMHeun(),
    "ancestral": ss.Ancestral(),
}


def _follows_clock(solver: str) -> bool:
    return SOLVERS[solver].noise == "clock"


@dataclass(frozen=True)
class SolverConfig:
    """How samples are drawn. Options that are left out are chosen by the experiment, or
    else by the library."""

    steps: int | None = None
    """Steps of the sampler; 40 by default. A step evaluates the network once, or twice
    with `heun`, `heun_normalised` and `edm`."""
    solver: SolverName | None = None
    """The solver; `multistep` by default. docs/samplers.md compares them."""
    clock: Literal["sde", "ode"] | None = None
    """Noise injected while sampling: that of the paper's reverse SDE, or none (`ode`,
    the probability flow)."""
    churn: float | None = None
    """Extra noise injected while sampling: with churn c it is replaced about c/2 times.
    Removes artefacts, needs more steps. 0 is the paper's sampler. By default half the
    number of steps, at most 40, for solvers that follow a clock."""

    def __post_init__(self):
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"`--steps` is {self.steps}; expected at least 1.")
        if self.churn is not None and self.churn < 0:
            raise ValueError(f"`--churn` is {self.churn}; expected at least 0.")
        if self.clock is not None and self.churn is not None:
            raise ValueError(
                "`--clock` and `--churn` both say how much noise is injected. Give one "
                "of them: `--churn 0` is the same as `--clock sde`."
            )
        wants_noise = self.clock == "sde" or self.churn is not None
        if wants_noise and self.solver is not None and not _follows_clock(self.solver):
            raise ValueError(
                f"`--solver {self.solver}` does not follow a clock, so it takes "
                "neither `--clock sde` nor `--churn`. Leave them out, or use one of "
                f"{', '.join(filter(_follows_clock, SOLVERS))}."
            )

    def completed(self, experiment: "SolverConfig | None") -> "SolverConfig":
        """With the experiment's choice for options that were left out."""
        if experiment is None:
            return self
        steps = experiment.steps if self.steps is None else self.steps
        if self.solver is self.clock is self.churn is None:
            return replace(experiment, steps=steps)
        # A solver and its noise belong together: the noise that the experiment chose
        # for another solver is not taken over.
        solver = experiment.solver if self.solver is None else self.solver
        return replace(self, steps=steps, solver=solver)

    def options(self) -> dict[str, Any]:
        """The arguments of [`softsde.sample`][]; those left out have its defaults."""
        options: dict[str, Any] = {}
        if self.steps is not None:
            options["num_steps"] = self.steps
        if self.solver is not None:
            options["solver"] = SOLVERS[self.solver]
        if self.churn is not None:
            options["clock"] = ss.clocks.Churn(self.churn)
        elif self.clock is not None:
            options["clock"] = self.clock
        return options

    @property
    def label(self) -> str:
        """For file names and titles."""
        parts = [self.solver or "default"]
        parts += [] if self.clock is None else [self.clock]
        parts += [] if self.churn is None else [f"churn{self.churn:g}"]
        parts += [] if self.steps is None else [f"{self.steps}_steps"]
        return "_".join(parts)

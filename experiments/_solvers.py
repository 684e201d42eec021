"""The options of a sampler, as one group."""

from dataclasses import dataclass, replace
from typing import Any

import softsde as ss

from . import _registry
from ._errors import CommandError
from ._make import Maker
from ._spec import Spec, parse, parse_value

#: Short names of solvers with options.
SHORT = {"edm": "EDMHeun", "heun_normalised": "Heun(coordinates='normalised')"}


def make_solver(text: str) -> ss.solvers.AbstractSolver:
    """The solver of a name, such as `momentum` or `DDIM(eta=0.5)`."""
    spec = parse(SHORT.get(text, text), "--solver")
    return Maker().make(spec, ("solver",), "--solver")


def make_clock(text: str) -> ss.clocks.AbstractClock:
    """The clock of a name, such as `ode` or `Churn(amount=20)`."""
    return Maker().make(parse(text, "--clock"), ("clock",), "--clock")


def _follows_clock(solver: str) -> bool:
    return make_solver(solver).noise == "clock"


@dataclass(frozen=True)
class SolverConfig:
    """Options of the sampler. Those that are left out are chosen by the experiment, or
    else by the library."""

    steps: int | None = None
    """Steps of the sampler; 40 by default. A step evaluates the network once, or twice
    with `heun`, `heun_normalised` and `edm`."""
    solver: str | None = None
    """The solver; `multistep` by default. Any of `softsde.solvers`, such as `momentum`,
    `ddim`, `heun`, `naive`, `ancestral`, also with options: 'DDIM(eta=0.5)'; and
    `edm`, `heun_normalised` for short. docs/samplers.md compares them."""
    clock: str | None = None
    """Noise injected while sampling: `sde`, that of the paper's reverse SDE, `ode`,
    none (the probability flow), or any of `softsde.clocks`: 'Churn(amount=20)'."""
    churn: float | None = None
    """Extra noise injected while sampling: with churn c it is replaced about c/2 times.
    Removes artefacts, needs more steps. 0 is the paper's sampler. By default half the
    number of steps, at most 40, for solvers that follow a clock."""

    def __post_init__(self):
        if self.steps is not None and self.steps < 1:
            raise CommandError(f"`--steps` is {self.steps}; expected at least 1.")
        if self.churn is not None and self.churn < 0:
            raise CommandError(f"`--churn` is {self.churn}; expected at least 0.")
        if self.clock is not None and self.churn is not None:
            raise CommandError(
                "`--clock` and `--churn` both say how much noise is injected. Give one "
                "of them: `--churn 0` is the same as `--clock sde`."
            )
        if self.clock is not None:
            make_clock(self.clock)
        follows = self.solver is None or _follows_clock(self.solver)
        wants_noise = self.clock not in (None, "ode") or self.churn is not None
        if wants_noise and not follows:
            names = [n for n in _registry.members("solver") if _plain_follows(n)]
            raise CommandError(
                f"`--solver {self.solver}` does not follow a clock, so it takes "
                f"neither `--clock {self.clock or 'sde'}` nor `--churn`. Leave them "
                f"out, or use one of {', '.join(names)}."
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
            options["solver"] = make_solver(self.solver)
        if self.churn is not None:
            options["clock"] = ss.clocks.Churn(self.churn)
        elif self.clock is not None:
            named = self.clock in ("ode", "sde")
            options["clock"] = self.clock if named else make_clock(self.clock)
        return options

    @property
    def label(self) -> str:
        """For file names and titles."""
        parts = [file_name(self.solver or "default")]
        parts += [] if self.clock is None else [file_name(self.clock)]
        parts += [] if self.churn is None else [f"churn{self.churn:g}"]
        parts += [] if self.steps is None else [f"{self.steps}_steps"]
        return "_".join(parts)


def _plain_follows(name: str) -> bool:
    try:
        return _follows_clock(name)
    except CommandError:
        # A solver that cannot be made without options.
        return False


def file_name(text: str) -> str:
    """A part of a file name: `DDIM(eta=0.5)` is `DDIM_eta0.5`."""
    spec = parse_value(text, "--solver")
    if not isinstance(spec, Spec):
        return text
    return "_".join([spec.name, *(f"{n}{v}" for n, v in spec.options.items())])

"""The samplers that a command can be asked for, as one group of options."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import softsde as ss

from ._config import SamplingConfig

#: Every sampler by name: its solver, and the form of the term that it steps.
SOLVERS: dict[str, tuple[ss.solvers.AbstractReverseSolver, str]] = {
    "momentum": (ss.Momentum(), "control"),
    "ddim": (ss.DDIM(), "control"),
    "multistep": (ss.Multistep(), "control"),
    "heun": (ss.HeunMomentum(), "control"),
    "normalised_heun": (ss.HeunMomentum(), "normalised"),
    "naive": (ss.Naive(), "control"),
}


@dataclass(frozen=True)
class SolverConfig:
    """How samples are drawn; what is not said is the experiment's own."""

    steps: int | None = None
    """Steps, each one evaluation of the network (two with Heun's method)."""
    solver: Literal[
        "momentum", "ddim", "multistep", "heun", "normalised_heun", "naive"
    ] = "momentum"
    """The Momentum Sampler or another; docs/samplers.md says which for what."""
    noise_clock: Literal["paper", "flow"] = "paper"
    """Noise of the reverse SDE, or none: the probability flow."""
    churn: float | None = None
    """Noise above the paper's, to renew it about churn / 2 times; cleans texture."""

    def __post_init__(self):
        if self.churn is not None and self.churn < 0:
            raise ValueError(f"`--churn` is {self.churn}; expected at least 0.")
        if self.churn and not self._takes_churn:
            raise ValueError(
                "`--churn` adds noise to the paper's clock: it goes with "
                "`--noise-clock paper`, and not with `--solver naive` or `ddim`, which "
                "take no clock."
            )

    @property
    def _takes_churn(self) -> bool:
        return self.noise_clock == "paper" and self.solver not in ("naive", "ddim")

    def completed(self, config: SamplingConfig) -> "SolverConfig":
        """With what was not said taken from the experiment."""
        churn = config.churn if self._takes_churn else 0.0
        return replace(
            self,
            steps=config.steps if self.steps is None else self.steps,
            churn=churn if self.churn is None else self.churn,
        )

    def options(self, process: ss.Process) -> dict[str, Any]:
        """As arguments of [`softsde.sample`][] for a process, once completed."""
        clock = self.noise_clock
        if self.churn:
            clock = ss.terms.ChurnClock(process, self.churn)
        solver, form = SOLVERS[self.solver]
        return {
            "num_steps": self.steps,
            "solver": solver,
            "form": form,
            "noise_clock": clock,
        }

    @property
    def label(self) -> str:
        """For file names."""
        clock = "" if self.noise_clock == "paper" else f"_{self.noise_clock}"
        clock += f"_churn{self.churn:g}" if self.churn else ""
        return f"{self.solver}{clock}_{self.steps}_steps"

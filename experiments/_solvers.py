"""The samplers that a command can be asked for, as one group of options."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import softsde as ss

from ._config import SamplingConfig


@dataclass(frozen=True)
class SolverConfig:
    """How samples are drawn; what is not said is the experiment's own."""

    steps: int | None = None
    """Steps, each one evaluation of the network."""
    solver: Literal["momentum", "naive"] = "momentum"
    """The Momentum Sampler, or the Naive one: predict, then corrupt again."""
    noise_clock: Literal["paper", "flow"] = "paper"
    """Noise of the reverse SDE, or none: the probability flow (momentum only)."""
    churn: float | None = None
    """Noise above the paper's, to renew it about churn / 2 times; cleans texture."""

    def __post_init__(self):
        if self.churn is not None and self.churn < 0:
            raise ValueError(f"`--churn` is {self.churn}; expected at least 0.")
        if self.churn and not self._takes_churn:
            raise ValueError(
                "`--churn` adds noise to the Momentum Sampler's: it goes with "
                "`--solver momentum --noise-clock paper`."
            )

    @property
    def _takes_churn(self) -> bool:
        return (self.solver, self.noise_clock) == ("momentum", "paper")

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
        solvers = {"momentum": ss.Momentum, "naive": ss.Naive}
        clock = self.noise_clock
        if self.churn:
            clock = ss.terms.ChurnClock(process, self.churn)
        return {
            "num_steps": self.steps,
            "solver": solvers[self.solver](),
            "noise_clock": clock,
        }

    @property
    def label(self) -> str:
        """For file names."""
        clock = "" if self.noise_clock == "paper" else f"_{self.noise_clock}"
        clock += f"_churn{self.churn:g}" if self.churn else ""
        return f"{self.solver}{clock}_{self.steps}_steps"

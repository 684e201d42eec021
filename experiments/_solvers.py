"""The samplers that a command can be asked for, as one group of options."""

from dataclasses import dataclass
from typing import Any, Literal

import softsde as ss


@dataclass(frozen=True)
class SolverConfig:
    """How samples are drawn."""

    steps: int = 100
    """Steps, each one evaluation of the network."""
    solver: Literal["momentum", "naive"] = "momentum"
    """The Momentum Sampler, or the Naive one: predict, then corrupt again."""
    noise_clock: Literal["paper", "flow"] = "paper"
    """Noise of the reverse SDE, or none: the probability flow (momentum only)."""

    def options(self) -> dict[str, Any]:
        """As arguments of [`softsde.sample`][]."""
        solvers = {"momentum": ss.Momentum, "naive": ss.Naive}
        return {
            "num_steps": self.steps,
            "solver": solvers[self.solver](),
            "noise_clock": self.noise_clock,
        }

    @property
    def label(self) -> str:
        """For file names."""
        clock = "" if self.noise_clock == "paper" else f"_{self.noise_clock}"
        return f"{self.solver}{clock}_{self.steps}_steps"

r"""Annealed Langevin dynamics: chains on the densities of falling noise levels."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from .._checks import check_positive
from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractSolver, Noise, Step, finish
from ._langevin import (
    LangevinRecord,
    Metropolis,
    StepConvention,
    chain_evaluations,
    check_chain,
    drift_weight,
    langevin_chain,
)
from ._predictor_corrector import AbstractCorrector


class _Memory(NamedTuple):
    record: LangevinRecord
    #: False until the chain at the first level has been run.
    begun: Bool[Array, ""]


class AnnealedLangevin(AbstractSolver, AbstractCorrector):
    r"""Annealed Langevin dynamics: a chain on the density of each noise level in turn.

    At the level $\sigma_i$, `steps` moves of
    [`softsde.Langevin`][softsde.solvers.Langevin] with the step size

    $$\alpha_i = \epsilon\, \sigma_i^2 / \sigma_L^2,$$

    where $\sigma_L$ is the last level given. All levels are moved at, the first
    included. [`softsde.sample`][] takes the times of the levels for its grid: from one
    time to the next, a step runs the chain at its end, and the first step runs the one
    at its start before that.

    Any corruption will do, as every $q_t$ has a score. It does not converge to the data
    as levels are added, but as `steps` grow and $\epsilon$ falls: each chain has the
    bias of its step size, and lags behind its level. (With the noise levels and step
    sizes published for CIFAR-10 and 5 moves a level, what it makes of $N(0, 1)$ has the
    standard deviation 1.067.) As a corrector it is a chain whose step size suits all
    times.

    The last step of NCSNv2, $x + \sigma^2 S(x)$, is `denoise_last` of
    [`softsde.sample`][].

    !!! example

        ```python
        process = ss.ve(0.01, 1.0)
        denoiser = ss.oracles.EmpiricalOracle(xs).denoiser(process)
        levels = ss.schedules.noise_sequence("geometric", 10)
        solver = ss.AnnealedLangevin(levels, 2e-5, steps=10, step_convention="alpha/2")
        ss.sample(denoiser, x1=xs, solver=solver, key=key)
        ```

    ??? cite "References"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019, Algorithm 1 (`"alpha/2"`).

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020 (NCSNv2, whose step sizes are meant as `"alpha"`).
    """

    levels: tuple[float, ...]
    step_size: float
    steps: int
    step_convention: StepConvention
    metropolis: Metropolis

    noise: ClassVar[Noise] = "own"
    orders: ClassVar[tuple[int | None, int | None]] = (None, None)

    def __init__(
        self,
        levels: Float[Array | np.ndarray, " levels"] | tuple[float, ...] | list[float],
        step_size: float,
        *,
        steps: int = 100,
        step_convention: StepConvention = "alpha",
        metropolis: Metropolis = None,
    ):
        r"""**Arguments:**

        - `levels`: $\sigma_1 > \dots > \sigma_L$, at least two.
        - `step_size`: $\epsilon$, the step size at the last level. Below $\sigma_L^2$,
            or chains overshoot.
        - `steps`: moves a level.
        - `step_convention`, `metropolis`: as in
            [`softsde.Langevin`][softsde.solvers.Langevin].

        **Raises:** `ValueError` for levels that do not fall, or values that have no
        meaning.
        """
        known = np.asarray(levels, np.float64)
        if known.ndim != 1 or known.size < 2 or not np.all(np.diff(known) < 0):
            raise ValueError(
                "`AnnealedLangevin` needs at least two levels that strictly fall, got "
                f"{known.tolist()}. For one level use `Langevin(step_size, at=t)`."
            )
        check_positive("AnnealedLangevin", "levels", known)
        check_positive("AnnealedLangevin", "step_size", step_size)
        check_chain("AnnealedLangevin", steps, step_convention, metropolis)
        self.levels = tuple(known.tolist())
        self.step_size = step_size
        self.steps = steps
        self.step_convention = step_convention
        self.metropolis = metropolis

    @property
    def evaluations_per_step(self) -> int:
        return chain_evaluations(self.steps, self.metropolis)

    def times(self, process: Process) -> Float[np.ndarray, " levels"]:
        """The times at which `sigma` takes the levels.

        **Raises:** `ValueError` for levels that the process does not reach.
        """
        ends = [process.known_sigma(t) for t in (process.t0, process.t1)]
        least, most = self.levels[-1], self.levels[0]
        low, high = ends
        if low is None or high is None:
            raise ValueError("`AnnealedLangevin` needs a noise schedule that is known.")
        # Levels that are the ends themselves differ from them by rounding.
        if least < low * (1 - 1e-5) or most > high * (1 + 1e-5):
            raise ValueError(
                f"`AnnealedLangevin` has levels from {least} to {most}, but the noise "
                f"of this process runs from {low} to {high}. Choose other levels, or a "
                "process such as `ve(levels[-1], levels[0])`."
            )
        levels = jnp.asarray(self.levels, jnp.result_type(float))
        times = np.asarray(jax.vmap(process.noise.inverse)(levels), np.float64)
        return np.clip(times, process.t0, process.t1)

    def init(self, terms, t0, t1, y0, args):
        self.check(terms)
        record = LangevinRecord(jnp.asarray(0), jnp.asarray(0))
        return _Memory(record, jnp.asarray(False))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("AnnealedLangevin", terms, t0, t1, y0, args)
        record, begun = solver_state
        chains = jnp.where(begun, 1, 2)

        def chain(i, carry):
            x, accepted = carry
            # The chain at the start of the first step comes before that at its end.
            t = jnp.where(i == chains - 1, step.t_next, step.t)
            x, kept = self._chain(step, t, x, i * self.steps)
            return x, accepted + kept

        start = (y0, record.accepted)
        x_next, accepted = jax.lax.fori_loop(0, chains, chain, start)
        record = LangevinRecord(record.proposed + chains * self.steps, accepted)
        return finish(y0, x_next, _Memory(record, jnp.asarray(True)))

    def correct(self, step: Step, predicted: Sample) -> Sample:
        return self._chain(step, step.t_next, predicted, 0)[0]

    def _chain(
        self, step: Step, t: ScalarLike, x: Sample, first: int | Int[Array, ""]
    ) -> tuple[Sample, Int[Array, ""]]:
        size = self.step_size * (step.process.sigma(t) / self.levels[-1]) ** 2
        h = drift_weight(size, self.step_convention)
        weight = lambda score, z: h
        return langevin_chain(
            step, t, x, weight, self.steps, self.metropolis, first=first
        )

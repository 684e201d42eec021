"""Checks what `sample` was asked for, before any compute."""

from typing import Any, Literal, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Condition
from ..clocks import AbstractClock, Churn, Ode, Sde, make_clock
from ..denoisers import AbstractDenoiser
from ..processes import Process
from ..solvers import (
    AbstractSolver,
    AnnealedLangevin,
    Multistep,
    PredictorCorrector,
    check_noise,
)
from ..terms import check_denoiser
from ._prior import AbstractPrior, check_prior
from ._times import make_grid

#: The defaults are the best measured over the models of docs/samplers.md.
NUM_STEPS = 40
#: Noise is replaced at most so often, and never faster than the steps can follow.
MOST_CHURN = 40.0

# Steps that adapt and need more are an error.
MAX_STEPS = 2**16


class How(eqx.Module):
    """The way in which a batch is drawn: the same for every sample."""

    solver: diffrax.AbstractSolver
    clock: AbstractClock
    #: `None` for the steps of the grid.
    controller: diffrax.AbstractAdaptiveStepSizeController | None
    #: Length of the first step, where steps adapt.
    first_step: float
    #: Whether noise is drawn, by the clock or by the solver.
    draws: bool
    denoise_last: bool
    save: bool
    meter: diffrax.AbstractProgressMeter


class Plan(NamedTuple):
    """All of a call of `sample`."""

    how: How
    number: int
    condition: Condition
    times: Float[Array, " times"]
    saved: Float[Array, " saved"]


def make_plan(
    denoiser: AbstractDenoiser,
    *,
    prior: AbstractPrior | None,
    x1: Any,
    num_samples: int | None,
    num_steps: int | None,
    solver: diffrax.AbstractSolver | None,
    clock: AbstractClock | Literal["ode", "sde"] | None,
    times: Any,
    condition: Condition,
    denoise_last: bool,
    save_trajectory: Any,
    progress: bool,
) -> Plan:
    """Checks everything, and fills in the defaults.

    **Raises:** as `sample`.
    """
    check_denoiser("sample", denoiser)
    process = denoiser.process
    number, shape = _check_start(prior, x1, num_samples, process)
    solver = Multistep() if solver is None else solver
    inner = _unwrapped(solver)
    clock = _choose_clock(inner, clock, process, num_steps or NUM_STEPS)
    if not isinstance(inner, AbstractSolver):
        process.require_smooth(f"`{type(inner).__name__}`", shape)

    controller = None
    if isinstance(times, diffrax.AbstractAdaptiveStepSizeController):
        controller, times = times, "uniform"
        _check_adaptive(solver, inner)
        steps = 100 if num_steps is None else num_steps
        grid = make_grid(process, 1 if steps >= 1 else steps, times)
        first = (process.t1 - process.t0) / steps
    else:
        first = 0.0
        if isinstance(inner, AnnealedLangevin) and num_steps is None:
            times = inner.times(process) if isinstance(times, str) else times
        grid = make_grid(process, NUM_STEPS if num_steps is None else num_steps, times)
    if prior is not None:
        check_prior("sample", prior, process, float(grid[0]), shape)

    save = not (isinstance(save_trajectory, bool) and not save_trajectory)
    saved = _saved_times(save_trajectory, grid, controller is not None)
    # In half precision there would be no more than some hundred different times.
    dtype = jnp.result_type(float)
    if x1 is not None and jnp.finfo(x1.dtype).bits >= 32:
        dtype = x1.dtype
    draws = not isinstance(clock, Ode) or _own_noise(inner)
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    return Plan(
        How(solver, clock, controller, first, draws, denoise_last, save, meter),
        number,
        _per_sample(condition, number),
        jnp.asarray(grid, dtype),
        jnp.asarray(saved, dtype),
    )


def _check_start(
    prior, x1, num_samples, process: Process
) -> tuple[int, tuple[int, ...] | None]:
    """The number of samples, and the shape of one."""
    if (prior is None) == (x1 is None):
        raise ValueError("`sample` needs exactly one of `prior=` and `x1=`.")
    if prior is not None:
        if num_samples is None or num_samples < 1:
            raise ValueError(
                f"`sample` got `num_samples={num_samples}`; with a prior, say how many "
                "to draw (at least 1)."
            )
        drawn = eqx.filter_eval_shape(prior.sample, jax.random.key(0))
        return num_samples, process.corruption.structure.shape or drawn.shape
    if num_samples not in (None, x1.shape[0]):
        raise ValueError(
            f"`sample` got `num_samples={num_samples}` and {x1.shape[0]} starts in "
            "`x1`."
        )
    return x1.shape[0], x1.shape[1:]


def _unwrapped(solver: diffrax.AbstractSolver) -> diffrax.AbstractSolver:
    """The solver inside `diffrax.HalfSolver` and its like."""
    while isinstance(solver, diffrax.AbstractWrappedSolver):
        solver = solver.solver
    return solver


def _own_noise(solver: diffrax.AbstractSolver) -> bool:
    """Tells whether noise is drawn also where the clock injects none."""
    if isinstance(solver, PredictorCorrector):
        return "own" in (solver.predictor.noise, solver.corrector.noise)
    return isinstance(solver, AbstractSolver) and solver.noise == "own"


def _choose_clock(
    solver: diffrax.AbstractSolver,
    clock: AbstractClock | Literal["ode", "sde"] | None,
    process: Process,
    num_steps: int,
) -> AbstractClock:
    ours = isinstance(solver, AbstractSolver)
    if clock is not None:
        chosen = make_clock(clock)
        if ours:
            check_noise(type(solver).__name__, solver.noise, chosen, True)
        return chosen
    if process.is_noiseless:
        return Ode()
    if ours:
        if solver.noise != "clock" or process.is_scaling:
            return Ode()
        # The paper's clock injects nothing while the noise rests, so a network's early
        # mistakes stay. With churn they are forgotten.
        return Churn(min(0.5 * num_steps, MOST_CHURN))
    # Runge-Kutta methods follow the flow, also where they could take noise.
    stochastic = (diffrax.AbstractItoSolver, diffrax.AbstractStratonovichSolver)
    explicit = isinstance(solver, (diffrax.AbstractERK, diffrax.Euler))
    return Sde() if isinstance(solver, stochastic) and not explicit else Ode()


def _check_adaptive(solver, inner) -> None:
    if _own_noise(inner):
        raise ValueError(
            f"`sample` got adaptive steps for `{type(inner).__name__}`, which draws "
            "noise of its own: a step that is rejected would be drawn anew, and the "
            "next chosen by it. Use steps of a grid, or noise on a clock."
        )
    # Of diffrax's own, those without an error estimate raise there.
    ours = isinstance(solver, AbstractSolver)
    if ours and not isinstance(solver, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"`sample` got adaptive steps for `{type(solver).__name__}`, which does "
            "not estimate its error. Use `Heun('normalised')`, `diffrax.Dopri5()`, "
            f"`diffrax.ShARK()`, or `diffrax.HalfSolver({type(solver).__name__}())`."
        )


def _per_sample(condition: Condition, number: int) -> Condition:
    """One condition a sample; a scalar is for all."""

    def stacked(leaf):
        leaf = jnp.asarray(leaf)
        if leaf.ndim == 0:
            return jnp.broadcast_to(leaf, (number,))
        if leaf.shape[0] != number:
            raise ValueError(
                f"`sample` got a condition of shape {leaf.shape} for {number} samples; "
                "expected one a sample, stacked in front, or a scalar for all."
            )
        return leaf

    return jax.tree.map(stacked, condition)


def _saved_times(save, grid: np.ndarray, adaptive: bool) -> np.ndarray:
    """The times to save at, checked; the last of the grid is always among them."""
    if isinstance(save, bool):
        return grid
    if isinstance(save, (int, np.integer)):
        if save < 2:
            raise ValueError(
                f"`sample` got `save_trajectory={save}`; expected at least 2 times: "
                "the first and the last."
            )
        if adaptive:
            return np.linspace(grid[0], grid[-1], save)
        return grid[np.unique(np.linspace(0, grid.size - 1, save).round().astype(int))]
    saved = np.asarray(save, np.float64)
    if saved.ndim != 1 or saved.size < 1 or not np.all(np.diff(saved) < 0):
        raise ValueError(
            "`sample` needs the times in `save_trajectory` to strictly decrease; got "
            f"{saved.tolist()}."
        )
    if saved[0] > grid[0] or saved[-1] < grid[-1]:
        raise ValueError(
            f"`sample` got `save_trajectory` from {saved[0]} to {saved[-1]}, outside "
            f"its grid [{grid[-1]}, {grid[0]}]."
        )
    near = np.abs(grid[:, None] - saved[None]).argmin(0)
    apart = np.abs(grid[near] - saved) > 1e-6
    if not adaptive and apart.any():
        raise ValueError(
            f"`sample` got `save_trajectory` times that are not on its grid: "
            f"{saved[apart].tolist()}. The sampler has no state between two steps: put "
            "them into `times`."
        )
    if not adaptive:
        saved = grid[near]
    return saved if saved[-1] == grid[-1] else np.append(saved, grid[-1])

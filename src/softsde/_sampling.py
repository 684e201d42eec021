"""`sample`: a thin function over `diffrax.diffeqsolve`.

It chooses the grid, draws the start, counts evaluations, takes the last denoising step
and saves what is asked for. Everything it does can be had from diffrax directly, with
the terms and solvers that it uses.
"""

from collections.abc import Sequence
from typing import NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from ._priors import AbstractPrior, check_prior
from ._time_grids import GridName, make_grid
from ._types import DenoiserFn, Key
from .processes import Process
from .solvers import AbstractReverseSolver, Momentum
from .solvers._evaluations import count_evaluations
from .terms import probability_flow, reverse_sde
from .terms._clock import NoiseClock, make_clock
from .terms._named import Form
from .terms._score import require_score


class Samples(eqx.Module):
    """What `sample` drew."""

    #: The samples, stacked in front.
    x: Float[Array, "num_samples *shape"]
    #: Evaluations of the denoiser for each sample, an array of one number each where
    #: steps are adaptive; `None` for a solver that does not say how many it takes.
    nfe: int | Int[Array, " num_samples"] | None
    #: With `save_trajectory`: the state at the saved times, first to last.
    trajectory: Float[Array, "num_samples times *shape"] | None = None
    #: With `save_trajectory`: the prediction `E[x0 | x_t]` at the same times.
    predictions: Float[Array, "num_samples times *shape"] | None = None
    #: The saved times with `save_trajectory`, else the grid, from `t1` down to `t0`.
    times: Float[Array, " times"] | None = None


def _form(solver: diffrax.AbstractSolver, form: Form | None) -> Form:
    """The form that a solver steps, and that it can step the one asked for."""
    ours = isinstance(solver, AbstractReverseSolver)
    if form is None:
        return "control" if ours else "derivative"
    if ours is (form == "derivative"):
        name = type(solver).__name__
        others = "'control' or 'normalised'" if ours else "'derivative'"
        raise ValueError(
            f"`sample` got `form={form!r}` for `{name}`, which steps {others}."
        )
    return form


def _draws_noise(solver: diffrax.AbstractSolver) -> bool:
    """Whether a solver wants a path also for the probability flow."""
    return isinstance(solver, AbstractReverseSolver) and solver.draws_noise


def _levy_area(solver: diffrax.AbstractSolver):
    """What a solver wants to know of a step's noise beyond its increment."""
    if not isinstance(solver, diffrax.AbstractSRK):
        return diffrax.BrownianIncrement
    if issubclass(solver.minimal_levy_area, diffrax.AbstractSpaceTimeTimeLevyArea):
        return diffrax.SpaceTimeTimeLevyArea
    return diffrax.SpaceTimeLevyArea


class _Plan(NamedTuple):
    """How `_sample_batch` runs: all that is the same for every sample."""

    solver: diffrax.AbstractSolver
    clock: NoiseClock
    form: Form
    #: `None` for the steps of the grid.
    controller: diffrax.AbstractAdaptiveStepSizeController | None
    max_steps: int
    denoise_last: bool
    save: bool
    meter: diffrax.AbstractProgressMeter


def _brownian_path(plan: _Plan, process: Process, end, shape, key):
    """Fresh normals for steps that are known; for adaptive ones, a path that is."""
    area = _levy_area(plan.solver)
    if plan.controller is None:
        return diffrax.UnsafeBrownianPath(shape, key, levy_area=area)
    span = end
    if plan.form != "derivative":
        span = make_clock(plan.clock, process)(end)
    return diffrax.VirtualBrownianTree(
        0.0, span, tol=span / 4096, shape=shape, key=key, levy_area=area
    )


@eqx.filter_jit
def _sample_batch(process, denoiser, prior, x1, indices, key, times, saved, plan):
    # diffrax traces a step several times: so it is the same jaxpr each time.
    denoiser = eqx.filter_jit(denoiser)
    # Integrated forwards in s = t1 - t (see the terms).
    grid = process.t1 - times
    saved_at = process.t1 - saved
    save = diffrax.SaveAt(ts=saved_at) if plan.save else diffrax.SaveAt(t1=True)
    controller, max_steps, first = diffrax.StepTo(grid), times.size, None
    if plan.controller is not None:
        controller, max_steps = plan.controller, plan.max_steps
        first = grid[1] - grid[0]
        if plan.save:
            # Steps end where states are saved: nothing is interpolated.
            controller = diffrax.ClipStepSizeController(controller, step_ts=saved_at)

    def one(index, start) -> tuple[Array, Array]:
        prior_key, path_key = jax.random.split(jax.random.fold_in(key, index))
        start = prior.sample(prior_key) if start is None else start
        clock: NoiseClock = plan.clock
        if clock == "flow" and not _draws_noise(plan.solver):
            term = probability_flow(process, denoiser, form=plan.form)
        else:
            path = _brownian_path(plan, process, grid[-1], start.shape, path_key)
            term = reverse_sde(
                process, denoiser, noise_clock=clock, form=plan.form, path=path
            )
        solution = diffrax.diffeqsolve(
            term,
            plan.solver,
            grid[0],
            grid[-1],
            dt0=first,
            y0=start,
            stepsize_controller=controller,
            saveat=save,
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            progress_meter=plan.meter,
            # Known steps cannot run out, and the check would cost compile time.
            throw=plan.controller is not None,
        )
        return jnp.asarray(solution.ys), solution.stats["num_steps"]

    path, steps = jax.vmap(one)(indices, x1)
    x = path[:, -1]
    if plan.denoise_last:
        x = jax.vmap(lambda v: denoiser(times[-1], v))(x)
    if not plan.save:
        return x, steps, None, None
    predictions = jax.lax.map(
        lambda pair: jax.vmap(lambda v: denoiser(pair[0], v))(pair[1]),
        (saved, jnp.moveaxis(path, 1, 0)),
    )
    return x, steps, path, jnp.moveaxis(predictions, 0, 1)


def _saved_times(save, grid: np.ndarray, adaptive: bool) -> np.ndarray:
    """The times to save at, checked; the last of the grid is always among them."""
    if isinstance(save, bool):
        return grid
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
            f"{saved[apart].tolist()}. A state between two steps is none of the "
            "sampler's: put them into `times`."
        )
    if not adaptive:
        saved = grid[near]
    return saved if saved[-1] == grid[-1] else np.append(saved, grid[-1])


def sample(
    process: Process,
    denoiser: DenoiserFn,
    *,
    prior: AbstractPrior | None = None,
    x1: Float[Array, "num_samples *shape"] | None = None,
    num_samples: int | None = None,
    num_steps: int = 100,
    solver: diffrax.AbstractSolver | None = None,
    noise_clock: NoiseClock = "paper",
    form: Form | None = None,
    times: GridName | Sequence[float] | Float[np.ndarray, " times"] = "uniform",
    stepsize_controller: diffrax.AbstractAdaptiveStepSizeController | None = None,
    max_steps: int = 4096,
    denoise_last: bool = True,
    save_trajectory: bool | Sequence[float] | Float[np.ndarray, " saved"] = False,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
    key: Key,
) -> Samples:
    """Draws samples by running the process backwards.

    Sample `i` depends on `key` and `i` only: not on how many are drawn, in which
    batches, or on how many devices.

    **Arguments:**

    - `process`: to reverse.
    - `denoiser`: `denoiser(t, x) -> E[x0 | x_t]`.
    - `prior`: of the start, such as [`softsde.GaussianPrior`][]; or
    - `x1`: the starts themselves, stacked in front.
    - `num_samples`: how many to draw from the prior.
    - `num_steps`: how many steps the grid has.
    - `solver`: by default [`softsde.Momentum`][softsde.solvers.Momentum].
    - `noise_clock`: `"paper"` for the reverse SDE (Eq. 14), `"flow"` for the
        probability flow (Eq. 51), or a callable, see [`softsde.reverse_sde`][].
    - `form`: of the term. By default the control form for the solvers of the library
        (`"normalised"` is there for them too), and the derivative form for those of
        diffrax.
    - `times`: `"uniform"` in time; `"karras"`, see [`softsde.karras_times`][]; or the
        grid itself, strictly decreasing, such as [`softsde.arc_length_times`][] gives.
    - `stepsize_controller`: steps that adapt instead, such as
        `diffrax.PIDController(rtol=1e-3, atol=1e-3)`, from the first to the last of the
        times; the first is as long as the grid's, and there are at most `max_steps`.
        For solvers that estimate their error: `diffrax.Dopri5()`, `diffrax.Tsit5()`,
        `HeunMomentum()`.
    - `denoise_last`: whether to return the prediction `E[x0 | x_t]` at the last time
        instead of the state there. It costs one evaluation.
    - `save_trajectory`: also return the state and the prediction at each time of the
        grid, or at the given ones of them (at any, where steps are adaptive). The
        predictions are evaluations of their own, which `nfe` does not count.
    - `batch_size`: how many at once; by default all.
    - `mesh`: spread each batch over the mesh axis `data`.
    - `progress`: show a progress bar.
    - `key`: of everything random.

    **Returns:** a [`softsde.Samples`][].

    **Raises:** `ValueError` for fewer than one step, a grid that does not decrease, a
    prior that was fitted on another process, or unless exactly one of `prior` and `x1`
    is given; before any compute.

    !!! example

        ```python
        prior = ss.GaussianPrior.fit(process, images)
        drawn = ss.sample(process, denoiser, prior=prior, num_samples=64, key=key)
        ```
    """
    if (prior is None) == (x1 is None):
        raise ValueError("`sample` needs exactly one of `prior=` and `x1=`.")
    if prior is not None:
        if num_samples is None or num_samples < 1:
            raise ValueError(
                f"`sample` got `num_samples={num_samples}`; with a prior, say how many "
                "to draw (at least 1)."
            )
        check_prior("sample", prior, process, process.corruption.structure.shape)
        number = num_samples
    else:
        assert x1 is not None
        number = x1.shape[0]
        if num_samples not in (None, number):
            raise ValueError(
                f"`sample` got `num_samples={num_samples}` and {number} starts in `x1`."
            )
    require_score(process, "Sampling")
    grid = make_grid(process, num_steps, times)
    adaptive = stepsize_controller is not None
    solver = Momentum() if solver is None else solver
    if adaptive and _draws_noise(solver):
        raise ValueError(
            f"`sample` got adaptive steps for `{type(solver).__name__}`, which draws "
            "noise of its own: a step that is rejected would have been seen, and the "
            "next chosen by it. Use steps of a grid, or noise on a clock."
        )
    save = not (isinstance(save_trajectory, bool) and not save_trajectory)
    saved = _saved_times(save_trajectory, grid, adaptive)
    form = _form(solver, form)
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    plan = _Plan(
        solver,
        noise_clock,
        form,
        stepsize_controller,
        max_steps,
        denoise_last,
        save,
        meter,
    )
    dtype = jnp.result_type(float) if x1 is None else x1.dtype
    grid, saved = jnp.asarray(grid, dtype), jnp.asarray(saved, dtype)
    devices = 1 if mesh is None else mesh.shape["data"]
    size = number if batch_size is None else min(batch_size, number)
    size = -(-size // devices) * devices
    drawn = []
    for first in range(0, number, size):
        # The last batch is padded, so that one compiled program serves all.
        indices = np.arange(first, first + size)
        starts = x1
        if x1 is not None and size != number:
            starts = x1[np.minimum(indices, number - 1)]
        indices = jnp.asarray(indices, jnp.uint32)
        if mesh is not None:
            sharding = NamedSharding(mesh, PartitionSpec("data"))
            indices, starts = jax.device_put((indices, starts), sharding)
        drawn.append(
            _sample_batch(
                process, denoiser, prior, starts, indices, key, grid, saved, plan
            )
        )
    x, steps, trajectory, predictions = drawn[0]
    if size != number:
        x, steps, trajectory, predictions = jax.tree.map(
            lambda *parts: jnp.concatenate(parts)[:number], *drawn
        )
    taken = steps if adaptive else grid.size - 1
    nfe = count_evaluations(solver, taken)
    nfe = None if nfe is None else nfe + int(denoise_last)
    return Samples(x, nfe, trajectory, predictions, saved if save else grid)

"""`sample`: a thin function over `diffrax.diffeqsolve`.

It draws the start, counts evaluations, takes the last denoising step and saves what is
asked for. Everything it does can be had from diffrax directly, with the terms and
solvers that it uses.
"""

import functools
import math
from collections.abc import Sequence
from typing import Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Int

from .._opaque import has_opaque
from .._types import Condition, Key
from ..clocks import AbstractClock
from ..denoisers import AbstractDenoiser
from ..solvers import count_evaluations, fresh_starts
from ..terms import StepNoise, probability_flow, reverse_sde, tree_tolerance
from ._adaptive import SampleSteps
from ._plan import MAX_STEPS, make_plan
from ._prior import AbstractPrior
from ._times import GridName
from ._traced_once import TracedOnce


class Samples(eqx.Module):
    """The result of `sample`."""

    #: The samples, stacked in front.
    x: Float[Array, "num_samples *shape"]
    #: Evaluations of the denoiser for each sample, an array of one number each where
    #: steps are adaptive; `None` for a solver that does not tell.
    nfe: int | Int[Array, " num_samples"] | None
    #: With `save_trajectory`: the state at the saved times, first to last.
    trajectory: Float[Array, "num_samples times *shape"] | None = None
    #: With `save_trajectory`: the prediction `E[x0 | x_t]` at the same times.
    predictions: Float[Array, "num_samples times *shape"] | None = None
    #: The saved times with `save_trajectory`, else the grid, from `t1` down to `t0`.
    times: Float[Array, " times"] | None = None


def sample(
    denoiser: AbstractDenoiser,
    *,
    prior: AbstractPrior | None = None,
    x1: Float[Array, "num_samples *shape"] | None = None,
    num_samples: int | None = None,
    num_steps: int | None = None,
    solver: diffrax.AbstractSolver | None = None,
    clock: AbstractClock | Literal["ode", "sde"] | None = None,
    times: GridName
    | Sequence[float]
    | Float[np.ndarray, " times"]
    | diffrax.AbstractAdaptiveStepSizeController = "uniform",
    condition: Condition = None,
    denoise_last: bool = True,
    save_trajectory: bool | int | Sequence[float] | Float[np.ndarray, " saved"] = False,
    batch_size: int | None = None,
    mesh: Mesh | None = None,
    progress: bool = False,
    key: Key,
) -> Samples:
    """Draws samples by running the process of a denoiser backwards.

    Sample `i` depends on `key` and `i` only: not on how many are drawn, in which
    batches, or on how many devices.

    **Arguments:**

    - `denoiser`: `E[x0 | x_t]` of a process, such as [`softsde.Denoiser`][].
    - `prior`: of the start, such as [`softsde.GaussianPrior`][]; or
    - `x1`: the starts themselves, stacked in front.
    - `num_samples`: how many to draw from the prior.
    - `num_steps`: how many steps the grid has, 40 by default. Where steps adapt, the
        first is as long as one of so many.
    - `solver`: a solver of [`softsde.solvers`](solvers.md) or of diffrax; by default
        [`softsde.Multistep`][softsde.solvers.Multistep].
    - `clock`: how much noise is injected: `"sde"` is the reverse SDE (Eq. 14), `"ode"`
        the probability flow (Eq. 51), and there are more in
        [`softsde.clocks`](clocks.md). By default, for the library's solvers that follow
        a clock, `Churn(num_steps / 2)`, at most `Churn(40)`, and `"ode"` if the
        corruption is a scaling; for solvers of diffrax `"ode"`, and `"sde"` for those
        that are stochastic only.
    - `times`: `"uniform"`; `"karras"`, see [`softsde.karras_times`][]; the grid itself,
        strictly decreasing, such as [`softsde.arc_length_times`][] gives; or steps that
        adapt, `diffrax.PIDController(rtol=1e-3, atol=1e-3)`, for solvers that estimate
        their error: `diffrax.Dopri5()`, `diffrax.ShARK()`, `Heun("normalised")`.
    - `condition`: one condition a sample, a PyTree of arrays stacked in front; a scalar
        is for all samples.
    - `denoise_last`: whether to return the prediction `E[x0 | x_t]` at the last time
        instead of the state there. It costs one evaluation.
    - `save_trajectory`: also return the state and the prediction at each time of the
        grid; at so many of them, evenly spaced in index, the first and the last always
        among them; or at the given ones (at any, where steps are adaptive). The
        predictions are evaluations of their own, which `nfe` does not count.
    - `batch_size`: at most how many at once; by default all.
    - `mesh`: spread each batch over the mesh axis `data`, and `fsdp` if it has one. On
        several hosts each makes the same call and gets the same global arrays, of which
        its devices hold a share.
    - `progress`: show a progress bar.
    - `key`: of everything random.

    **Returns:** a [`softsde.Samples`][].

    **Raises:** before any compute, `TypeError` for something that is no denoiser;
    `ValueError` for fewer than one step, a grid that does not decrease, a prior of
    another process or time, a clock that the solver would ignore, steps that cannot
    adapt, a condition of another length, or unless exactly one of `prior` and `x1` is
    given.

    !!! example

        ```python
        prior = ss.GaussianPrior.fit(process, images)
        drawn = ss.sample(denoiser, prior=prior, num_samples=64, key=key)
        ```
    """
    plan = make_plan(
        denoiser,
        prior=prior,
        x1=x1,
        num_samples=num_samples,
        num_steps=num_steps,
        solver=solver,
        clock=clock,
        times=times,
        condition=condition,
        denoise_last=denoise_last,
        save_trajectory=save_trajectory,
        progress=progress,
    )
    how, number = plan.how, plan.number
    axes = () if mesh is None else _batch_axes(mesh)
    devices = math.prod(mesh.shape[axis] for axis in axes) if mesh is not None else 1
    size = _even(number, number if batch_size is None else batch_size, devices)
    # A plain function may read values that change: compiled anew, they are present.
    opaque = has_opaque((denoiser, how, prior))
    program = eqx.filter_jit(functools.partial(_draw)) if opaque else _draw_compiled
    drawn = []
    for first in range(0, number, size):
        # The last batch is padded, so that one compiled program serves all.
        indices = np.arange(first, first + size)
        of_samples = (x1, plan.condition)
        if size != number:
            part = np.minimum(indices, number - 1)
            take = lambda leaf, part=part: leaf[part]
            of_samples = jax.tree.map(take, of_samples)
        batch = (jnp.asarray(indices, jnp.uint32), *of_samples)
        if mesh is not None:
            batch = jax.device_put(batch, NamedSharding(mesh, PartitionSpec(axes)))
        drawn.append(program(denoiser, how, prior, batch, key, plan.times, plan.saved))
    x, steps, trajectory, predictions = drawn[0]
    if size != number:
        x, steps, trajectory, predictions = jax.tree.map(
            lambda *parts: jnp.concatenate(parts)[:number], *drawn
        )
    saved = plan.saved if how.save else plan.times
    nfe = _evaluations(denoiser.process, how, plan.times, steps)
    return Samples(x, nfe, trajectory, predictions, saved)


def _even(number: int, most: int, devices: int) -> int:
    """The size of batches of at most `most`, rounded up to a multiple of the devices.

    All are of one size, for one compiled program, and the last is padded: 300 samples
    by at most 256 are two batches of 150, which waste nothing.
    """
    if most < 1:
        raise ValueError(f"`sample` got `batch_size={most}`; expected at least 1.")
    batches = math.ceil(number / most)
    return math.ceil(number / batches / devices) * devices


def _batch_axes(mesh: Mesh) -> tuple[str, ...]:
    """The axes of the mesh over which samples are spread."""
    return tuple(axis for axis in ("data", "fsdp") if axis in mesh.shape)


def _evaluations(process, how, times, steps) -> int | Int[Array, " num_samples"] | None:
    """Evaluations of the denoiser for each sample."""
    adapt = how.controller is not None
    nfe = count_evaluations(how.solver, steps if adapt else times.size - 1)
    if nfe is None:
        return None
    if adapt:
        nfe = nfe + fresh_starts(how.solver, process.kinks(), times[-1], times[0])
    return nfe + int(how.denoise_last)


def _draw(denoiser, how, prior, batch, key, times, saved):
    """One batch."""
    denoiser = TracedOnce(denoiser)
    process = denoiser.process
    # Integrated forwards in s = t1 - t (see the terms).
    grid, saved_at = process.t1 - times, process.t1 - saved
    save = diffrax.SaveAt(ts=saved_at) if how.save else diffrax.SaveAt(t1=True)
    controller, max_steps, first = diffrax.StepTo(grid), times.size, None
    if how.controller is not None:
        max_steps, first = MAX_STEPS, how.first_step
        kinks = process.t1 - process.kinks().astype(times.dtype)
        controller = diffrax.ClipStepSizeController(
            SampleSteps(how.controller, process),
            # Steps end where states are saved: nothing is interpolated.
            step_ts=saved_at if how.save else None,
            jump_ts=kinks if kinks.size else None,
        )

    def one(index, start, condition) -> tuple[Array, Array]:
        prior_key, path_key = jax.random.split(jax.random.fold_in(key, index))
        start = prior.sample(prior_key) if start is None else start
        solution = diffrax.diffeqsolve(
            _term(denoiser, how, grid[-1], start, path_key),
            how.solver,
            grid[0],
            grid[-1],
            dt0=first,
            y0=start,
            args=condition,
            stepsize_controller=controller,
            saveat=save,
            adjoint=diffrax.ForwardMode(),
            max_steps=max_steps,
            progress_meter=how.meter,
            # Known steps cannot run out, and the check would cost compile time.
            throw=how.controller is not None,
        )
        return jnp.asarray(solution.ys), solution.stats["num_steps"]

    path, steps = jax.vmap(one)(*batch)
    predict = jax.vmap(denoiser, in_axes=(None, 0, 0))
    condition = batch[2]
    x = path[:, -1]
    if how.denoise_last:
        x = predict(times[-1], x, condition)
    if not how.save:
        return x, steps, None, None
    predictions = jax.lax.map(
        lambda pair: predict(pair[0], pair[1], condition),
        (saved, jnp.moveaxis(path, 1, 0)),
    )
    return x, steps, path, jnp.moveaxis(predictions, 0, 1)


_draw_compiled = eqx.filter_jit(_draw)


def _term(denoiser, how, span, start, key) -> diffrax.AbstractTerm:
    """The flow, or the SDE with its path."""
    if not how.draws:
        return probability_flow(denoiser)
    shape = jax.ShapeDtypeStruct(start.shape, start.dtype)
    area = _levy_area(how.solver)
    if how.controller is None:
        path = StepNoise(denoiser.process, shape, key, area)
    else:
        fine = tree_tolerance(denoiser.process, how.clock, span)
        path = diffrax.VirtualBrownianTree(0.0, span, fine, shape, key, area)
    return reverse_sde(denoiser, clock=how.clock, path=path)


def _levy_area(solver: diffrax.AbstractSolver):
    """The Levy area that a solver asks of a step's noise beside its increment."""
    if not isinstance(solver, diffrax.AbstractSRK):
        return diffrax.BrownianIncrement
    if issubclass(solver.minimal_levy_area, diffrax.AbstractSpaceTimeTimeLevyArea):
        return diffrax.SpaceTimeTimeLevyArea
    return diffrax.SpaceTimeLevyArea

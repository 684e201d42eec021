"""`sample`: a thin function over `diffrax.diffeqsolve`.

It chooses the grid, draws the start, counts evaluations, takes the last denoising step
and saves what is asked for. Everything it does can be had from diffrax directly, with
the terms and solvers that it uses.
"""

from collections.abc import Sequence
from typing import Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from ._priors import AbstractPrior
from ._types import DenoiserFn, Key
from .processes import Process
from .solvers import AbstractReverseSolver, Momentum
from .solvers._evaluations import count_evaluations
from .terms import ReverseControlTerm, probability_flow, reverse_sde
from .terms._clock import NoiseClock


class Samples(eqx.Module):
    """What `sample` drew."""

    #: The samples, stacked in front.
    x: Float[Array, "num_samples *shape"]
    #: Evaluations of the denoiser for each sample; `None` for a solver that does not
    #: say how many it takes.
    nfe: int | None = eqx.field(static=True)
    #: With `save_trajectory`: the state at each time of `times`, first to last.
    trajectory: Float[Array, "num_samples times *shape"] | None = None
    #: With `save_trajectory`: the prediction `E[x0 | x_t]` at the same times.
    predictions: Float[Array, "num_samples times *shape"] | None = None
    #: The times of the grid, from `t1` down to `t0`.
    times: Float[Array, " times"] | None = None


def _grid(process: Process, num_steps: int, times) -> np.ndarray:
    """The times from `t1` down to `t0`, checked."""
    if times is None:
        if num_steps < 1:
            raise ValueError(
                f"`sample` got `num_steps={num_steps}`; expected at least 1."
            )
        return np.linspace(process.t1, process.t0, num_steps + 1)
    times = np.asarray(times, np.float64)
    if times.ndim != 1 or times.size < 2 or not np.all(np.diff(times) < 0):
        raise ValueError(
            "`sample` needs `times` that strictly decrease, from the corrupted end "
            f"`t1={process.t1}` to `t0={process.t0}`; got {times.tolist()}. "
            "Reverse an increasing grid with `times[::-1]`."
        )
    if times[0] > process.t1 or times[-1] < process.t0:
        raise ValueError(
            f"`sample` got times from {times[0]} to {times[-1]}, outside the process's "
            f"[{process.t0}, {process.t1}]."
        )
    return times


def _form(solver: diffrax.AbstractSolver) -> Literal["control", "derivative"]:
    """The form that a solver steps: the library's own the one, all others the other."""
    controlled = solver.term_structure is ReverseControlTerm
    return "control" if controlled else "derivative"


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


@eqx.filter_jit
def _sample_batch(
    process, denoiser, prior, x1, indices, key, clock, solver, times, extra
):
    denoise_last, save_trajectory, meter = extra
    # Integrated forwards in s = t1 - t (see the terms).
    grid = process.t1 - times
    save = diffrax.SaveAt(ts=grid) if save_trajectory else diffrax.SaveAt(t1=True)

    def one(index, start) -> Array:
        prior_key, path_key = jax.random.split(jax.random.fold_in(key, index))
        start = prior.sample(prior_key) if start is None else start
        form = _form(solver)
        if clock == "flow" and not _draws_noise(solver):
            term = probability_flow(process, denoiser, form=form)
        else:
            area = _levy_area(solver)
            path = diffrax.UnsafeBrownianPath(start.shape, path_key, levy_area=area)
            term = reverse_sde(
                process, denoiser, noise_clock=clock, form=form, path=path
            )
        solution = diffrax.diffeqsolve(
            term,
            solver,
            grid[0],
            grid[-1],
            dt0=None,
            y0=start,
            stepsize_controller=diffrax.StepTo(grid),
            saveat=save,
            adjoint=diffrax.ForwardMode(),
            max_steps=times.size,
            progress_meter=meter,
        )
        return jnp.asarray(solution.ys)

    path = jax.vmap(one)(indices, x1)
    x = path[:, -1]
    if denoise_last:
        x = jax.vmap(lambda v: denoiser(times[-1], v))(x)
    if not save_trajectory:
        return x, None, None
    predictions = jax.lax.map(
        lambda pair: jax.vmap(lambda v: denoiser(pair[0], v))(pair[1]),
        (times, jnp.moveaxis(path, 1, 0)),
    )
    return x, path, jnp.moveaxis(predictions, 0, 1)


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
    times: Sequence[float] | Float[np.ndarray, " times"] | None = None,
    denoise_last: bool = True,
    save_trajectory: bool = False,
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
    - `num_steps`: steps of equal length in time; or
    - `times`: the grid itself, strictly decreasing.
    - `solver`: by default [`softsde.Momentum`][softsde.solvers.Momentum]. One of the
        library steps the control form, and one of diffrax the derivative form.
    - `noise_clock`: `"paper"` for the reverse SDE (Eq. 14), `"flow"` for the
        probability flow (Eq. 51), or a callable, see [`softsde.reverse_sde`][].
    - `denoise_last`: whether to return the prediction `E[x0 | x_t]` at the last time
        instead of the state there. It costs one evaluation.
    - `save_trajectory`: also return the state and the prediction at each time.
    - `batch_size`: how many at once; by default all.
    - `mesh`: spread each batch over the mesh axis `data`.
    - `progress`: show a progress bar.
    - `key`: of everything random.

    **Returns:** a [`softsde.Samples`][].

    **Raises:** `ValueError` for fewer than one step, a grid that does not decrease, or
    unless exactly one of `prior` and `x1` is given; before any compute.

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
        number = num_samples
    else:
        assert x1 is not None
        number = x1.shape[0]
        if num_samples not in (None, number):
            raise ValueError(
                f"`sample` got `num_samples={num_samples}` and {number} starts in `x1`."
            )
    process.require_noise("Sampling")
    grid = _grid(process, num_steps, times)
    dtype = jnp.result_type(float) if x1 is None else x1.dtype
    grid = jnp.asarray(grid, dtype)
    solver = Momentum() if solver is None else solver
    meter = diffrax.TqdmProgressMeter() if progress else diffrax.NoProgressMeter()
    devices = 1 if mesh is None else mesh.shape["data"]
    size = number if batch_size is None else min(batch_size, number)
    size = -(-size // devices) * devices
    drawn = []
    for first in range(0, number, size):
        # The last batch is padded, so that one compiled program serves all.
        indices = np.arange(first, first + size)
        starts = None if x1 is None else x1[np.minimum(indices, number - 1)]
        indices = jnp.asarray(indices, jnp.uint32)
        if mesh is not None:
            sharding = NamedSharding(mesh, PartitionSpec("data"))
            indices, starts = jax.device_put((indices, starts), sharding)
        drawn.append(
            _sample_batch(
                process,
                denoiser,
                prior,
                starts,
                indices,
                key,
                noise_clock,
                solver,
                grid,
                (denoise_last, save_trajectory, meter),
            )
        )
    x, trajectory, predictions = jax.tree.map(
        lambda *parts: jnp.concatenate(parts)[:number], *drawn
    )
    nfe = count_evaluations(solver, grid.size - 1)
    nfe = None if nfe is None else nfe + int(denoise_last)
    return Samples(x, nfe, trajectory, predictions, grid)

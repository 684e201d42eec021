r"""Time grids: where a sampler takes its steps, from `t1` down to `t0`.

The same number of evaluations buys less error where they stand closer to what happens.
A grid is an array of times, strictly decreasing; these are the named ones.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples
from ..processes import Process
from ..schedules import Constant

GridName: TypeAlias = Literal["uniform", "karras"]
Grid: TypeAlias = Float[np.ndarray, " times"]


def uniform_times(process: Process, num_steps: int) -> Grid:
    """Steps of equal length in time.

    **Arguments:**

    - `process`: whose times they are.
    - `num_steps`: at least 1.

    **Returns:** `num_steps + 1` times.
    """
    _check_steps("uniform_times", num_steps)
    return np.linspace(process.t1, process.t0, num_steps + 1)


def karras_times(process: Process, num_steps: int, *, rho: float = 7.0) -> Grid:
    r"""Times at which $\sigma^{1/\rho}$ takes equal steps (Karras et al., Eq. 5).

    **Arguments:**

    - `process`: one whose `sigma` rises strictly and can be inverted.
    - `num_steps`: at least 1.
    - `rho`: 1 for equal steps of `sigma`; the larger, the closer they stand at the
        clean end.

    **Returns:** `num_steps + 1` times.

    **Raises:** `ValueError` for a process whose `sigma` rests: times follow from it
    only where it moves. `arc_length_times` has no such need.

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """
    _check_steps("karras_times", num_steps)
    if not rho > 0:
        raise ValueError(f"`karras_times` got `rho={rho}`; expected a number > 0.")
    ends = [process.known_sigma(t) for t in (process.t1, process.t0)]
    if ends[0] is None or ends[1] is None:
        raise ValueError("`karras_times` needs a noise schedule that is not traced.")
    if isinstance(process.noise, Constant) or not ends[0] > ends[1] >= 0:
        raise ValueError(
            "`karras_times` needs a noise schedule that rises, got sigma from "
            f"{ends[1]} to {ends[0]}. Use `arc_length_times` or `times='uniform'`."
        )
    # In single precision the inverse of a schedule that is nearly flat (a cosine at its
    # end) does not tell neighbouring times apart.
    with jax.enable_x64(True):
        return _karras(process, num_steps, rho)


def _karras(process: Process, num_steps: int, rho: float) -> Grid:
    ends = [float(process.sigma(jnp.asarray(t))) for t in (process.t1, process.t0)]
    # A noise that rests takes its last value long before the end.
    last = float(process.noise.inverse(jnp.asarray(ends[0])))
    if abs(last - process.t1) > 1e-3 * (process.t1 - process.t0):
        raise ValueError(
            f"`karras_times` got a noise schedule that rests from t = {last:.4g} on, "
            "so it says nothing of the times after. Use `arc_length_times` or "
            "`times='uniform'`."
        )
    roots = np.linspace(ends[0] ** (1 / rho), ends[1] ** (1 / rho), num_steps + 1)
    inner = jnp.asarray(roots[1:-1] ** rho)
    times = np.asarray(jax.vmap(process.noise.inverse)(inner), np.float64)
    return np.concatenate([[process.t1], times, [process.t0]])


def arc_length_times(
    process: Process,
    num_steps: int,
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    points: int = 513,
) -> Grid:
    r"""Times between which the process moves by equal lengths, in units of its noise.

    The length is $\int \sqrt{E\lVert dC_t x_0 \rVert^2 / n + d\sigma_t^2}\, /
    \sigma_t$, with $n$ components: where the corruption rests these are equal steps of
    $\log\sigma$, and where the noise rests, equal movements of the data. Lengths are
    those of chords, so it is right for operators that jump.

    **Arguments:**

    - `process`: one with `sigma > 0` at `t0`.
    - `num_steps`: at least 1.
    - `data`: some tens of clean samples stacked in front.
    - `points`: of the table that is summed.

    **Returns:** `num_steps + 1` times.

    **Raises:** `ValueError` when nothing moves, or for `sigma = 0` at `t0`.

    !!! example

        ```python
        times = ss.arc_length_times(process, 20, images)
        ss.sample(denoiser, x1=xs, times=times, key=key)
        ```
    """
    _check_steps("arc_length_times", num_steps)
    process.require_noise("`arc_length_times`")
    check_samples("arc_length_times", data)
    times = np.linspace(process.t0, process.t1, points)
    ts = jnp.asarray(times, data.dtype)
    batch = jnp.asarray(data)
    sigma = np.asarray(jax.vmap(process.sigma)(ts), np.float64)
    corrupt = lambda t: jax.vmap(lambda x: process.apply(t, x))(batch)
    chord = lambda pair: jnp.mean((corrupt(pair[1]) - corrupt(pair[0])) ** 2)
    moved = np.asarray(jax.lax.map(chord, (ts[:-1], ts[1:])), np.float64)
    signal = np.sqrt(moved / (sigma[1:] * sigma[:-1]))
    steps = np.hypot(signal, np.diff(np.log(sigma)))
    length = np.concatenate([[0.0], np.cumsum(steps)])
    if not length[-1] > 0:
        raise ValueError("`arc_length_times` got a process in which nothing moves.")
    # A rest has no length: a small share of the time keeps its ends apart.
    length = length / length[-1] + 1e-6 * np.linspace(0.0, 1.0, points)
    grid = np.interp(np.linspace(length[-1], 0.0, num_steps + 1), length, times)
    grid[0], grid[-1] = process.t1, process.t0
    return grid


_NAMED = {"uniform": uniform_times, "karras": karras_times}


def make_grid(
    process: Process, num_steps: int, times: GridName | Sequence[float] | Grid
) -> Grid:
    """The times from `t1` down to `t0` that a user's `times` names, checked.

    **Raises:** `ValueError` for an unknown name, or times that do not decrease or leave
    the process.
    """
    if isinstance(times, str):
        if times not in _NAMED:
            raise ValueError(
                f"Unknown `times` {times!r}; expected one of {sorted(_NAMED)}, or the "
                "times themselves, strictly decreasing."
            )
        return _in_order(f"times={times!r}", _NAMED[times](process, num_steps))
    grid = np.asarray(times, np.float64)
    if grid.ndim != 1 or grid.size < 2 or not np.all(np.diff(grid) < 0):
        raise ValueError(
            "`sample` needs `times` that strictly decrease, from the corrupted end "
            f"`t1={process.t1}` to `t0={process.t0}`; got {grid.tolist()}. "
            "Reverse an increasing grid with `times[::-1]`."
        )
    if grid[0] > process.t1 or grid[-1] < process.t0:
        raise ValueError(
            f"`sample` got times from {grid[0]} to {grid[-1]}, outside the process's "
            f"[{process.t0}, {process.t1}]."
        )
    return _in_order("times", grid)


def _in_order(name: str, grid: Grid) -> Grid:
    """The grid, unless two of its times are one in the precision of the sampler."""
    dtype = np.dtype(jnp.result_type(float))
    rounded = grid.astype(dtype)
    same = np.diff(rounded) >= 0
    if same.any():
        at = int(np.argmax(same))
        raise ValueError(
            f"`sample` got `{name}` with steps that {dtype.name} cannot tell apart, "
            f"from {grid[at]:.9g} to {grid[at + 1]:.9g}. Take fewer steps, or compute "
            "in float64 (`jax.enable_x64`)."
        )
    return grid


def _check_steps(owner: str, num_steps: int) -> None:
    if num_steps < 1:
        raise ValueError(f"`{owner}` got `num_steps={num_steps}`; expected at least 1.")

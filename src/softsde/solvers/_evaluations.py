"""Counts the evaluations of the denoiser in a solve: the NFE of `sample`."""

import functools
from typing import TypeVar

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._types import ScalarLike
from ._annealed_langevin import AnnealedLangevin
from ._base import AbstractSolver

#: One number for all samples, or one each.
_Count = TypeVar("_Count", int, Int[Array, " samples"])


@functools.singledispatch
def count_evaluations(solver: object, num_steps: _Count) -> _Count | None:
    """Evaluations of the denoiser in `num_steps` steps of any solver, if it tells.

    Where steps adapt, those that were rejected are among them.

    **Arguments:**

    - `solver`: a solver of this library or of diffrax.
    - `num_steps`: how many steps it has taken; one number, or one for each sample.

    **Returns:** a number like `num_steps`, or `None` for a solver that does not tell.
    """
    del solver, num_steps
    return None


@count_evaluations.register(AbstractSolver)
def _(solver, num_steps):
    return solver.evaluations_per_step * num_steps


@count_evaluations.register(AnnealedLangevin)
def _(solver, num_steps):
    # The first step runs two chains.
    return solver.evaluations_per_step * (num_steps + 1)


@count_evaluations.register(diffrax.HalfSolver)
def _(solver, num_steps):
    # A full step and two half steps.
    inner = count_evaluations(solver.solver, num_steps)
    return None if inner is None else 3 * inner


@count_evaluations.register(diffrax.Euler)
@count_evaluations.register(diffrax.EulerHeun)
def _(solver, num_steps):
    # Euler-Heun corrects its noise only, which costs no network.
    del solver
    return num_steps


@count_evaluations.register(diffrax.AbstractERK)
def _(solver, num_steps):
    stages = solver.tableau.num_stages
    # First same as last: a step's last stage is the first of the next.
    return (stages - 1) * num_steps + 1 if solver.tableau.fsal else stages * num_steps


@count_evaluations.register(diffrax.AbstractSRK)
def _(solver, num_steps):
    ignored = solver.tableau.ignore_stage_f
    stages = len(solver.tableau.b_sol)
    return (stages - (0 if ignored is None else int(ignored.sum()))) * num_steps


def fresh_starts(
    solver: diffrax.AbstractSolver,
    kinks: Float[Array, " kinks"],
    start: ScalarLike,
    end: ScalarLike,
) -> Int[Array, ""] | int:
    """Extra evaluations of a "first same as last" method: one after each kink.

    Such a method reuses the last evaluation of a step in the next step. After a kink it
    evaluates again.

    **Arguments:**

    - `solver`: any solver.
    - `kinks`: times at which steps end because a schedule has a kink there.
    - `start`, `end`: first and last time of the solve, `start` < `end`; kinks outside
        do not count.

    **Returns:** the number of evaluations to add to that of `count_evaluations`.
    """
    explicit = isinstance(solver, diffrax.AbstractERK)
    if not (explicit and isinstance(solver.tableau, diffrax.ButcherTableau)):
        return 0
    if not solver.tableau.fsal:
        return 0
    start = jnp.asarray(start, kinks.dtype)
    inside = jnp.sort(jnp.where((kinks > start) & (kinks < end), kinks, start))
    # Two kinks at one time are one.
    return jnp.sum(jnp.diff(inside, prepend=start) > 0)

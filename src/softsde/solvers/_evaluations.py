"""How often a solve evaluates the denoiser: what `sample` reports as NFE."""

import functools
from typing import TypeVar

import diffrax
from jaxtyping import Array, Int

from ._base import AbstractReverseSolver

#: One number for all samples, or one each.
_Count = TypeVar("_Count", int, Int[Array, " samples"])


@functools.singledispatch
def count_evaluations(solver: object, num_steps: _Count) -> _Count | None:
    """Evaluations of the denoiser in `num_steps` steps, if the solver tells.

    Where steps adapt, those that were rejected are among them.
    """
    del solver, num_steps
    return None


@count_evaluations.register(AbstractReverseSolver)
def _(solver, num_steps):
    return solver.evaluations_per_step * num_steps


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

r"""Tells whether $C_t$ moves smoothly in time, or jumps.

A jump changes a sample by a finite amount in no time: a derivative in time does not see
it. Most families say whether they jump; one that does not is tried.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import concrete
from .._types import Sample, Scalar
from ..corruptions import AbstractCorruption, largest_jump
from ..schedules import AbstractSchedule

#: A step that is 4096 times shorter changes a smooth operator by far less than this
#: share; a jump changes it by 1, a staircase of many small jumps by more than this.
JUMP_SHARE = 0.1


def known_jump(
    corruption: AbstractCorruption,
    levels: AbstractSchedule,
    t0: float,
    t1: float,
    shape: tuple[int, ...] | None,
) -> float | None:
    """The time of a jump, `nan` for a declared one; `None` where none is known."""
    structure = corruption.structure
    if structure.differentiable is False:
        return float("nan")
    shape = structure.shape if shape is None else shape
    if structure.differentiable or shape is None:
        return None
    with jax.ensure_compile_time_eval():
        share, time = probe(corruption, levels, t0, t1, shape)
        share, time = concrete(share), concrete(time)
    if share is None or time is None or share <= JUMP_SHARE:
        return None
    return float(time)


def guard_jump(
    corruption: AbstractCorruption,
    levels: AbstractSchedule,
    t0: float,
    t1: float,
    what: str,
    x: Sample,
) -> Sample:
    """`x`, with an error if a corruption jumps that has not said and is traced."""
    if corruption.structure.differentiable is not None:
        return x
    share = probe(corruption, levels, t0, t1, x.shape)[0]
    if concrete(share) is not None:  # `known_jump` has looked at it
        return x
    message = f"{what} {check_jump(corruption, float('nan'))}"
    return eqx.error_if(x, share > JUMP_SHARE, message)


def probe(
    corruption: AbstractCorruption,
    levels: AbstractSchedule,
    t0: float,
    t1: float,
    shape: tuple[int, ...],
) -> tuple[Scalar, Scalar]:
    """The rest of the largest change when its step shrinks, and the time of it."""
    dtype = jnp.result_type(float)
    x = jnp.asarray(np.random.default_rng(0).normal(size=shape), dtype)
    operator: Callable[[Scalar], Sample] = lambda t: corruption.apply(levels(t), x)
    return largest_jump(operator, jnp.asarray(t0, dtype), jnp.asarray(t1, dtype))


def check_jump(corruption: AbstractCorruption, jump: float) -> str:
    """Says what is wrong with a corruption that jumps, for the error."""
    name = type(corruption).__name__
    where = "as its level grows" if np.isnan(jump) else f"at time {jump:.4g}"
    return (
        f"needs the derivative of C_t in time, but `{name}` jumps {where}, and a "
        "derivative does not see a jump. Use a solver of softsde, such as "
        "`Momentum()`, `DDIM()` or `Multistep()`, which step from operator to "
        "operator, or a corruption that moves smoothly, such as `SoftMask` for masks. "
        "(A family that is known to be smooth says so: "
        "`Structure(differentiable=True)`.)"
    )

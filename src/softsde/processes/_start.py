"""Checks of a process before it runs: levels, linearity, noise and a clean start."""

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import concrete
from ..corruptions import AbstractCorruption, check_linear
from ..schedules import AbstractSchedule

# Below these shares of the way, or of a sample's size, a start counts as clean. A
# process may begin a little late: where rectified flow stops, 0.1 % of the signal is
# gone, and a blur of 0.3 pixels moves a sample by 1.5 %.
_NEAR = 1e-3
_CLEAN = 0.05


def check_levels(
    corruption: AbstractCorruption, levels: AbstractSchedule, times: tuple[float, ...]
) -> None:
    """Refuses levels that the corruption does not have, at the two ends of time."""
    for t in times:
        level = _level(levels, t)
        if level is None:
            continue
        try:
            corruption.check_level(level)
        except ValueError as error:
            raise ValueError(
                "`Process` got `levels` that leave the range of its corruption at "
                f"time {t}: {error}"
            ) from None


def check_operator(
    corruption: AbstractCorruption, levels: AbstractSchedule, t0: float, t1: float
) -> None:
    """Refuses a corruption that is not linear in the sample, where it can be tried."""
    structure = corruption.structure
    # A family with a basis multiplies coefficients, which is linear.
    if structure.basis is None and structure.shape is not None:
        level = _level(levels, 0.5 * (t0 + t1))
        if level is not None:
            check_linear(corruption, structure.shape, level)


def check_noise(noise: AbstractSchedule, t0: float, t1: float) -> None:
    """Refuses a noise that is known to be negative, not finite, or to fall."""
    with jax.ensure_compile_time_eval():
        times = jnp.linspace(t0, t1, 33)
        values = concrete(jax.jit(jax.vmap(noise))(times))
    if values is None:
        return
    if not np.all(np.isfinite(values) & (values >= 0)):
        worst = int(np.argmin(np.where(np.isfinite(values), values, -np.inf)))
        raise ValueError(
            f"`Process` got a noise schedule with sigma({times[worst]:.4g}) = "
            f"{values[worst]:.4g}; expected standard deviations that are finite and at "
            "least 0."
        )
    falls = np.diff(values) < -1e-5 * np.max(values)
    if falls.any():
        first = int(np.argmax(falls))
        raise ValueError(
            f"`Process` got a noise schedule that falls, from {values[first]:.4g} at "
            f"time {times[first]:.4g} to {values[first + 1]:.4g}; expected one that "
            "never falls. Time runs from the data (`t0`) to the noise (`t1`): exchange "
            "the ends of the schedule."
        )


def check_start(
    corruption: AbstractCorruption, levels: AbstractSchedule, t0: float, t1: float
) -> None:
    """Refuses a corruption that is known not to be the identity when time begins.

    A process that begins late (`t0` > 0) is clean if it would have been at 0.
    """
    # Under a transformation too: what is not traced can be computed there.
    with jax.ensure_compile_time_eval():
        starts = [t0] if t0 <= 0 else [t0, 0.0]
        changes = [_change(corruption, levels, t, t1) for t in starts]
    if any(change is None or change <= _CLEAN for change in changes):
        return
    identity = corruption.structure.identity_level
    where = "" if identity is None else f", which is the level {identity}"
    raise ValueError(
        f"`Process` needs C_t = I at its start, but at t0 = {t0} the level is "
        f"{_level(levels, t0)}, where `{type(corruption).__name__}` changes a sample "
        f"by {changes[0]:.0%} of its size. Start `levels` where the corruption is the "
        f"identity{where}; check which way they run, and what this corruption counts. "
        "If samples are meant to be corrupted from the start, say `clean_start=False`."
    )


def _change(
    corruption: AbstractCorruption, levels: AbstractSchedule, t: float, t1: float
) -> float | None:
    """The share of a sample that is changed at time `t`; `None` if it is unknown."""
    level, end = _level(levels, t), _level(levels, t1)
    if level is None or end is None:
        return None
    structure = corruption.structure
    identity = structure.identity_level
    if identity is not None:
        gone, way = abs(level - identity), abs(end - identity)
        if gone <= _NEAR * way:
            return 0.0
    # Jitted, for many small steps would be compiled one by one.
    if structure.basis is not None:
        size = 1.0
        compute = jax.jit(lambda theta: corruption.eigenvalues(theta) - 1)
    elif structure.shape is not None:
        sample = np.random.default_rng(0).normal(size=structure.shape)
        size = float(np.sqrt(np.mean(sample**2)))
        x = jnp.asarray(sample, jnp.result_type(float))
        compute = jax.jit(lambda theta: corruption.apply(theta, x) - x)
    else:
        size, compute = 1.0, None
    if compute is not None:
        moved = concrete(compute(jnp.asarray(level)))
        return None if moved is None else float(np.sqrt(np.mean(moved**2))) / size
    if identity is not None:
        return gone / way if way else np.inf
    return None


def _level(levels: AbstractSchedule, t: float) -> float | None:
    with jax.ensure_compile_time_eval():
        level = concrete(levels(jnp.asarray(t)))
    return None if level is None or level.ndim else float(level)

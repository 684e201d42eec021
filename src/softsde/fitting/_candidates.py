"""Checks of candidate levels and data, moments at each level, and inverted curves."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import check_samples
from ..corruptions import AbstractCorruption
from ..processes import Process
from ._batches import (
    Operators,
    batches,
    corrupt_batch,
    mean_sample,
    sample_dtype,
)

Data = Float[Array | np.ndarray, "number *shape"]


def check_increasing(
    owner: str, name: str, values: ArrayLike
) -> Float[np.ndarray, " candidates"]:
    """`values` as float64; refuses values that do not strictly increase."""
    known = np.asarray(values, np.float64)
    rising = known.ndim == 1 and known.size >= 2 and np.all(np.diff(known) > 0)
    if not rising or not np.isfinite(known).all():
        raise ValueError(
            f"`{owner}` needs at least two finite, strictly increasing `{name}`; sort "
            f"them and remove repeats: `np.unique({name})`."
        )
    return known


def check_levels(
    owner: str, corruption: AbstractCorruption, levels: ArrayLike
) -> Float[np.ndarray, " candidates"]:
    """Candidate levels as float64; refuses those that the corruption does not have."""
    known = check_increasing(owner, "levels", levels)
    corruption.check_level(known)
    return known


def check_data(owner: str, data: Any) -> None:
    """Refuses data that is empty, or not floating-point."""
    if len(data) < 1:
        raise ValueError(f"`{owner}` got no data.")
    check_samples(owner, data)


def check_process(owner: str, process: Any) -> None:
    if not isinstance(process, Process):
        raise TypeError(
            f"`{owner}` got {type(process).__name__} for a process; expected a "
            "`Process`, such as `ss.ve(0.01, 50.0)`."
        )


def check_num_points(owner: str, num_points: int, most: int) -> None:
    if not 2 <= num_points <= most:
        raise ValueError(
            f"`{owner}` got `num_points={num_points}`; expected 2 to {most}."
        )


def check_start(owner: str, start: float) -> None:
    if not 0 <= start < 1:
        raise ValueError(f"`{owner}` got `start={start}`; expected [0, 1).")


class LevelMoments(eqx.Module):
    r"""Second moments of $C(\theta) x_0$ over data, at each level."""

    #: $E \lVert C(\theta) x_0 - x_0 \rVert^2$.
    error: Float[np.ndarray, " levels"]
    #: The trace of the covariance of $C(\theta) x_0$.
    variance: Float[np.ndarray, " levels"]


@eqx.filter_jit
def _sums(operators, levels, batch, centre):
    """Sums over a batch of the squared errors and of the squared deviations."""

    def at(theta):
        out = corrupt_batch(operators, theta, batch)
        moved, spread = out - batch, out - operators.apply(theta, centre)[None]
        return jnp.stack([jnp.sum(moved**2), jnp.sum(spread**2)])

    # Over all levels at once it is slower, and takes memory for all of them.
    return jax.lax.map(at, levels)


def level_moments(
    owner: str, operators: Operators, levels: Float[np.ndarray, " levels"], data: Data
) -> LevelMoments:
    """Both moments from one pass over the data, a batch at a time.

    **Raises:** `ValueError` for no data, or data that is not finite.
    """
    check_data(owner, data)
    # Operators are linear: the mean of the corrupted data is the corrupted mean.
    centre = mean_sample(data)
    thetas = jnp.asarray(levels, sample_dtype(data))
    sums = np.zeros((levels.size, 2))
    for batch in batches(data):
        sums += np.asarray(_sums(operators, thetas, batch, centre), np.float64)
    if not np.isfinite(sums).all():
        raise ValueError(f"`{owner}` got data that is not finite.")
    error, variance = (sums / len(data)).T
    return LevelMoments(error, variance)


def levels_at(
    owner: str,
    what: str,
    levels: Float[np.ndarray, " candidates"],
    curve: Float[np.ndarray, " candidates"],
    targets: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """The levels at which a rising curve takes the targets, by linear interpolation.

    Where the curve is flat, its first level; for a target outside the curve, the
    nearest end.

    **Raises:** `ValueError` for a curve that falls.
    """
    # Rounding may make a flat curve fall by a little.
    slack = 1e-5 * np.abs(curve).max()
    falls = np.diff(curve) < -slack
    if falls.any():
        at = int(np.argmax(falls))
        raise ValueError(
            f"`{owner}` needs {what} along the levels; from level {levels[at]:g} to "
            f"{levels[at + 1]:g} it goes the other way. Give levels in the order in "
            "which they corrupt more."
        )
    curve = np.maximum.accumulate(curve)
    first = np.concatenate([[True], np.diff(curve) > 0])
    return np.interp(targets, curve[first], levels[first])

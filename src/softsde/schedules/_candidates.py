"""What those share that choose levels from data: checks, and curves inverted."""

from collections.abc import Iterator

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples
from ..corruptions import AbstractCorruption

_BATCH = 64


def check_levels(
    owner: str, levels, name: str = "levels"
) -> Float[np.ndarray, " candidates"]:
    """Candidates as float64; refused unless they strictly increase."""
    levels = np.asarray(levels, np.float64)
    rising = levels.ndim == 1 and levels.size >= 2 and np.all(np.diff(levels) > 0)
    if not rising or not np.isfinite(levels).all():
        raise ValueError(
            f"`{owner}` needs at least two finite, strictly increasing `{name}`; sort "
            "them and remove repeats."
        )
    return levels


def check_data(owner: str, data) -> None:
    if len(data) < 1:
        raise ValueError(f"`{owner}` got no data.")
    check_samples(owner, data)


def check_num_points(owner: str, num_points: int, most: int) -> None:
    if not 2 <= num_points <= most:
        raise ValueError(
            f"`{owner}` got `num_points={num_points}`; expected 2 to {most}."
        )


def check_start(owner: str, start: float) -> None:
    if not 0 <= start < 1:
        raise ValueError(f"`{owner}` got `start={start}`; expected [0, 1).")


def batches(data) -> Iterator[Float[Array, "batch *shape"]]:
    """The data a few samples at a time, on the device."""
    for start in range(0, len(data), _BATCH):
        yield jnp.asarray(data[start : start + _BATCH])


class LevelMoments(eqx.Module):
    r"""Second moments of $C(\theta) x_0$ at each level, over data."""

    #: $E \lVert C(\theta) x_0 - x_0 \rVert^2$.
    error: Float[np.ndarray, " levels"]
    #: The trace of the covariance of $C(\theta) x_0$.
    variance: Float[np.ndarray, " levels"]


@eqx.filter_jit
def _sums(corruption, levels, batch, centre):
    """Sums over a batch of both squares, `(levels,)`, and of `C (x - centre)`."""

    def at(theta):
        apply = jax.vmap(lambda x: corruption.apply(theta, x))
        out = apply(batch)
        moved, spread = out - batch, out - corruption.apply(theta, centre)[None]
        return jnp.sum(moved**2), jnp.sum(spread**2)

    return jax.lax.map(at, levels)


def level_moments(
    owner: str, corruption: AbstractCorruption, levels: np.ndarray, data
) -> LevelMoments:
    """In one pass over the data, a batch at a time."""
    check_data(owner, data)
    dtype = jnp.asarray(data[:1]).dtype
    centre = np.asarray(data).mean(axis=0, dtype=np.float64)
    # A corruption is linear: the mean of what it makes is what it makes of the mean.
    centre, thetas = jnp.asarray(centre, dtype), jnp.asarray(levels, dtype)
    error, variance = np.zeros(levels.size), np.zeros(levels.size)
    for batch in batches(data):
        moved, spread = _sums(corruption, thetas, batch, centre)
        error += np.asarray(moved, np.float64)
        variance += np.asarray(spread, np.float64)
    if not (np.isfinite(error).all() and np.isfinite(variance).all()):
        raise ValueError(f"`{owner}` got data that is not finite.")
    return LevelMoments(error / len(data), variance / len(data))


def levels_at(
    owner: str,
    what: str,
    levels: Float[np.ndarray, " candidates"],
    curve: Float[np.ndarray, " candidates"],
    targets: Float[np.ndarray, " points"],
) -> Float[np.ndarray, " points"]:
    """The levels at which a rising curve takes the targets; the nearest end outside.

    Where the curve rests, its first level.
    """
    # Rounding may make a curve that rests fall by a little.
    slack = 1e-5 * (np.abs(curve).max())
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

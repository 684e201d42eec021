r"""Noise and corruption chosen together: a shortest path on the grid of both.

The paper grows the noise first and corrupts afterwards, and leaves a joint choice to
future work. Here every pair (level, sigma) is a node, and an edge may raise either or
both. The path has so many points and a longest step that is as short as possible, as in
`transport_schedule`. Among those it has the least sum of squared steps: by Cauchy's
inequality that is at least the square of the length over the number of steps, with
equality on a shortest path in even steps. (The least sum of steps is what the paper has
in one dimension. On a grid whose coarsest edge decides the longest step, it would leave
a path free to crawl elsewhere.)

The distance between the laws $q$ of two nodes, $C x_0 + \sigma \eta$ with mean and
covariance $m$ and $K$, is known where it matters most, and bracketed everywhere:

- **From below.** In any orthonormal basis $W_2^2$ is at least the sum over coordinates
  of that between their laws, since the cost of a coupling is a sum over coordinates;
  and each of these is at least that between the Gaussians of the same means and
  standard deviations, $(m_k - m_k')^2 + (s_k - s_k')^2$ (Gelbrich's bound). It is equal
  for Gaussian data whose covariances are diagonal in the basis: they commute, and this
  is the Bures distance.
- **From above.** Keep the clean sample and the noise: the cost of that coupling is
  $E \lVert C x_0 - C' x_0 \rVert^2 + n (\sigma - \sigma')^2$. It is equal without
  noise, for the families for which `transport_schedule` is exact.

The two differ by what noise is hidden under the data: to grow from 0.1 to 0.2 moves
a coordinate of standard deviation 10 by 0.0015 and not by 0.1.
"""

from collections.abc import Callable
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key
from ..corruptions import AbstractCorruption
from ._candidates import (
    batches,
    check_data,
    check_levels,
    check_num_points,
    check_start,
)
from ._noisy_nodes import sinkhorn_nodes
from ._piecewise_linear import PiecewiseLinear
from ._transport import Sinkhorn, transport_schedule
from ._transport._path import smallest_epsilon

#: `metric(corruption, levels, sigmas, data)`: distances between all nodes, `(n, n)` for
#: `n = len(levels) * len(sigmas)`, in the order of `(level, sigma)`, sigma fastest.
Metric = Callable[..., np.ndarray]

# The dense matrix of all pairs of nodes then takes 128 MiB.
_MOST_NODES = 4096


class JointSchedule(eqx.Module):
    """The schedules that `joint_schedule` chose, and what they were chosen from."""

    #: The level as a function of time.
    levels: PiecewiseLinear
    #: The standard deviation of the noise as a function of time.
    noise: PiecewiseLinear
    #: The candidates, which span the grid.
    candidate_levels: Float[np.ndarray, " levels"]
    candidate_sigmas: Float[np.ndarray, " sigmas"]
    #: Distances between neighbours on the path, in the units of the data.
    steps: Float[np.ndarray, " steps"]
    #: The chosen nodes, as indices of level and sigma.
    path: tuple[tuple[int, int], ...] = eqx.field(static=True)
    #: The longest step on the path.
    epsilon: float = eqx.field(static=True)


def joint_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " levels"],
    sigmas: Float[Array | np.ndarray, " sigmas"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_points: int = 32,
    metric: Literal["gaussian", "coupling"] | Sinkhorn | Metric = "gaussian",
    slack: float = 0.05,
    start: float = 0.0,
    key: Key | None = None,
) -> JointSchedule:
    r"""Chooses level and noise together, so that the law moves by equal distances.

    The path leads from the least level and noise to the greatest of both, and neither
    ever falls.

    **Arguments:**

    - `corruption`: the family.
    - `levels`, `sigmas`: strictly increasing candidates; the noise is positive. 64 by
        32 of them take seconds. A step cannot be shorter than the candidates are apart,
        and noise moves the law by even steps where it is spaced evenly: use `linspace`
        rather than `geomspace` for large noise.
    - `data`: clean samples stacked in front.
    - `num_points`: how many nodes the path holds, ends included.
    - `metric`: `"gaussian"` counts means and standard deviations of the coordinates, in
        the basis of the corruption where it has one and else in that of the data's
        principal directions. It is a lower bound of $W_2$ for all data, and exact for
        Gaussian data that is uncorrelated in that basis. `"coupling"` keeps the sample
        and the noise: an upper bound for all data, exact between levels without noise
        where [`softsde.schedules.transport_schedule`][] is, and for two noises on a
        single point. [`softsde.schedules.Sinkhorn`][] estimates the distances, where
        neither bound is near: one run of the algorithm for each pair of nodes, so for
        grids of tens of them. A function `metric(corruption, levels, sigmas, data)`
        gives the distances itself: a matrix over the pairs (level, sigma), sigma
        fastest.
    - `slack`: how much longer than need be the longest step may be, as a share of it,
        for the sake of a shorter and more even path: the very best hangs on how the
        candidates happen to fall.
    - `start`: the time at which the two begin to move.
    - `key`: for `Sinkhorn`, which draws slices and noise.

    **Returns:** a [`softsde.schedules.JointSchedule`][].

    **Raises:** `ValueError` for unsorted candidates, noise that is not positive, too
    many or too few points, no data or data that is not finite, distances of another
    shape, or distances that are no numbers.

    !!! example

        ```python
        blur = ss.corruptions.HeatBlur(shape)
        joint = ss.schedules.joint_schedule(
            blur,
            np.geomspace(0.1, 9.0, 12),
            np.linspace(0.01, 0.5, 8),
            images,
            num_points=8,
        )
        process = ss.Process(blur, joint.levels, joint.noise)
        ```
    """
    owner = "joint_schedule"
    levels = check_levels(owner, levels)
    sigmas = check_levels(owner, sigmas, "sigmas")
    if not sigmas[0] > 0:
        raise ValueError(f"`{owner}` needs positive `sigmas`, got {sigmas[0]:g} first.")
    check_num_points(owner, num_points, levels.size + sigmas.size - 1)
    check_start(owner, start)
    if not slack >= 0:
        raise ValueError(f"`{owner}` got `slack={slack}`; expected at least 0.")
    check_data(owner, data)
    nodes = levels.size * sigmas.size
    if nodes > _MOST_NODES:
        raise ValueError(
            f"`{owner}` got {levels.size} levels and {sigmas.size} sigmas, a grid of "
            f"{nodes} nodes; expected at most {_MOST_NODES}. A coarser grid differs "
            "little: the schedule is linear between its points."
        )
    if isinstance(metric, Sinkhorn):
        if key is None:
            raise ValueError(
                f"`{owner}` with `Sinkhorn` draws slices and noise at random: pass "
                "`key=jax.random.key(0)`."
            )
        distances = sinkhorn_nodes(metric, corruption, levels, sigmas, data, key)
    elif callable(metric):
        distances = np.asarray(metric(corruption, levels, sigmas, data), np.float64)
    elif metric in _METRICS:
        distances = _METRICS[metric](corruption, levels, sigmas, data)
    else:
        raise ValueError(
            f"`{owner}` got `metric={metric!r}`; expected 'gaussian', 'coupling', a "
            "`Sinkhorn(...)` or a function."
        )
    if distances.shape != (nodes, nodes):
        raise ValueError(
            f"`{owner}` got distances of shape {distances.shape} from its `metric`; "
            f"expected {(nodes, nodes)}, one for each pair of nodes."
        )
    if not np.isfinite(distances).all():
        raise ValueError(f"`{owner}` got distances that are not finite: is the data?")
    # Nodes count level by level, so what counts as forward never lowers the level. Not
    # to lower the noise either is said here.
    noise_index = np.tile(np.arange(sigmas.size), levels.size)
    falls = noise_index[:, None] > noise_index[None]
    edges = np.where(falls, np.inf, distances)
    reach = (1 + slack) * smallest_epsilon(edges, num_points)
    path = _least_path(np.where(edges <= reach, edges**2, np.inf), num_points)
    steps = distances[path[:-1], path[1:]]
    places = [divmod(node, sigmas.size) for node in path]
    times = np.linspace(start, 1.0, num_points)
    return JointSchedule(
        PiecewiseLinear(times, levels[[i for i, _ in places]]),
        PiecewiseLinear(times, sigmas[[j for _, j in places]]),
        levels,
        sigmas,
        steps,
        tuple(places),
        float(steps.max()),
    )


def _least_path(costs: Float[np.ndarray, "nodes nodes"], num_points: int) -> list[int]:
    """The least sum from first node to last over so many, each after the one before."""
    costs = np.where(np.tri(len(costs), dtype=bool), np.inf, costs)
    total = np.full(len(costs), np.inf)
    total[0] = 0.0
    came_from = []
    for _ in range(num_points - 1):
        through = total[:, None] + costs
        previous = through.argmin(axis=0)
        came_from.append(previous)
        total = np.take_along_axis(through, previous[None], axis=0)[0]
    path = [len(costs) - 1]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return path[::-1]


def _coupling(corruption, levels, sigmas, data) -> np.ndarray:
    """Of the coupling that keeps the clean sample and the noise."""
    squared = transport_schedule(corruption, levels, data, num_points=2).distances ** 2
    components = int(np.prod(np.shape(data)[1:]))
    noise = components * np.square(sigmas[:, None] - sigmas[None])
    total = squared[:, None, :, None] + noise[None, :, None, :]
    return np.sqrt(total).reshape(levels.size * sigmas.size, -1)


def _gaussian(corruption, levels, sigmas, data) -> np.ndarray:
    """Between Gaussians whose coordinates are independent: Euclid's, in (m, s)."""
    mean, variance = _coordinate_moments(corruption, levels, data)
    spread = np.sqrt(variance[:, None, :] + np.square(sigmas)[None, :, None])
    means = np.broadcast_to(mean[:, None, :], spread.shape)
    places = np.concatenate([means, spread], axis=-1)
    places = places.reshape(levels.size * sigmas.size, -1)
    # About their middle, where the difference of squares loses least.
    places = places - places.mean(axis=0)
    norms = np.einsum("ij,ij->i", places, places)
    squared = norms[:, None] + norms[None] - 2 * places @ places.T
    return np.sqrt(np.maximum(squared, 0))


def _coordinate_moments(corruption, levels, data):
    """Means and variances of the coordinates of `C(theta) x0`, `(levels, size)`."""
    rotate = _basis(corruption, data)
    dtype = jnp.asarray(data[:1]).dtype
    thetas = jnp.asarray(levels, dtype)
    # A shift, so that the variance is no difference of large numbers.
    shift = jnp.asarray(np.asarray(data).mean(axis=0, dtype=np.float64), dtype)
    total = squares = base = np.zeros(1)
    for batch in batches(data):
        sums = _coordinate_sums(corruption, rotate, thetas, batch, shift)
        first, second, base = (np.asarray(value, np.float64) for value in sums)
        total, squares = total + first, squares + second
    offset, second = total / len(data), squares / len(data)
    return base + offset, np.maximum(second - offset**2, 0)


class _Rotation(eqx.Module):
    """Coordinates in a basis: the corruption's own, or the rows of a matrix."""

    corruption: AbstractCorruption | None
    matrix: Float[Array, "rank size"] | None

    def __call__(self, x):
        if self.matrix is None:
            assert self.corruption is not None
            return self.corruption.to_basis(x).reshape(-1)
        return jnp.matmul(self.matrix, x.reshape(-1), precision="highest")


def _basis(corruption: AbstractCorruption, data) -> _Rotation:
    if corruption.structure.basis not in (None, "every"):
        return _Rotation(corruption, None)
    rows = np.asarray(data, np.float64).reshape(len(data), -1)
    covariance = np.cov(rows, rowvar=False, bias=True).reshape(rows.shape[1], -1)
    if not np.isfinite(covariance).all():
        raise ValueError("`joint_schedule` got data that is not finite.")
    vectors = np.linalg.eigh(covariance)[1].T
    return _Rotation(None, jnp.asarray(vectors, jnp.asarray(data[:1]).dtype))


@eqx.filter_jit
def _coordinate_sums(corruption, rotate, levels, batch, shift):
    def at(theta):
        corrupt = lambda x: rotate(corruption.apply(theta, x))
        z = jax.vmap(corrupt)(batch - shift[None])
        return jnp.sum(z, axis=0), jnp.sum(z**2, axis=0), corrupt(shift)

    return jax.lax.map(at, levels)


_METRICS: dict[str, Metric] = {"gaussian": _gaussian, "coupling": _coupling}

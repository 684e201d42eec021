r"""Noise and corruption chosen together: a shortest path on the grid of both.

The paper raises the noise first and corrupts afterwards, and leaves a joint choice to
future work. Here every pair (level, sigma) is a node, and an edge may raise either or
both. The path has a given number of points, and its longest step is as short as
possible, as in `transport_schedule`. Among the paths with that property it has the
least sum of squared steps. By Cauchy's inequality that sum is at least the squared
length of the path over the number of steps, with equality for even steps. (The paper
minimises the sum of steps. On a grid, where the coarsest edge decides the longest step,
that would allow very uneven paths.)

The distance between two nodes, $C x_0 + \sigma \eta$ with mean $m$ and covariance $K$,
has bounds from both sides:

- **From below.** In any orthonormal basis $W_2^2$ is at least the sum of the squared
  distances between the laws of the coordinates, since the cost of a coupling is a sum
  over coordinates. Each of these is at least that between the Gaussians of the same
  means and standard deviations, $(m_k - m_k')^2 + (s_k - s_k')^2$ (Gelbrich's bound).
  For Gaussian data whose covariances are diagonal in the basis the bound is exact: the
  covariances commute, and it is the Bures distance.
- **From above.** The coupling that keeps the clean sample and the noise costs
  $E \lVert C x_0 - C' x_0 \rVert^2 + n (\sigma - \sigma')^2$. Without noise this is
  exact for the families for which `transport_schedule` is exact.

They differ because data hides noise: raising the noise from 0.1 to 0.2 moves a
coordinate of standard deviation 10 by 0.0015, not by 0.1.
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
from ..schedules import PiecewiseLinear
from ._batches import batches, mean_sample, sample_dtype
from ._candidates import (
    check_data,
    check_increasing,
    check_levels,
    check_num_points,
    check_start,
)
from ._noisy_nodes import sinkhorn_nodes
from ._transport import Sinkhorn, coupling_distances
from ._transport._path import smallest_epsilon

#: `metric(corruption, levels, sigmas, data)`: distances between all nodes, `(n, n)` for
#: `n = len(levels) * len(sigmas)`, in the order of `(level, sigma)`, sigma fastest.
Metric = Callable[..., np.ndarray]

# With this many nodes the matrix of all distances takes 128 MiB.
_MOST_NODES = 4096


class JointSchedule(eqx.Module):
    """The two schedules that `joint_schedule` chose, and their path."""

    #: The level as a function of time.
    levels: PiecewiseLinear
    #: The standard deviation of the noise as a function of time.
    noise: PiecewiseLinear
    #: The candidate levels, one axis of the grid.
    candidate_levels: Float[np.ndarray, " levels"]
    #: The candidate noises, the other axis.
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
    r"""Chooses level and noise together, such that the law moves by equal distances.

    The path leads from the smallest level and noise to the largest of both. Neither
    falls on the way.

    **Arguments:**

    - `corruption`: the family.
    - `levels`, `sigmas`: strictly increasing candidates; the noise must be positive. A
        grid of 64 by 32 takes seconds. A step cannot be shorter than the spacing of the
        candidates. Evenly spaced noise moves the law evenly: for large noise use
        `linspace` rather than `geomspace`.
    - `data`: clean samples stacked in front.
    - `num_points`: the number of nodes on the path, ends included.
    - `metric`: how to measure distances between nodes:
        - `"gaussian"` compares means and standard deviations of the coordinates, in the
          basis of the corruption if it has one, else in that of the principal
          directions of the data. It is a lower bound of $W_2$ for all data, and exact
          for Gaussian data that is uncorrelated in that basis.
        - `"coupling"` keeps the sample and the noise. It is an upper bound for all
          data. It is exact between levels without noise where
          [`softsde.fitting.transport_schedule`][] is, and between two noises on a
          single point.
        - A [`softsde.fitting.Sinkhorn`][] estimates the distances, for cases where
          neither bound is close. It runs the algorithm once for each pair of nodes, so
          it is for grids of tens of nodes.
        - A function `metric(corruption, levels, sigmas, data)` returns the distances
          itself: a matrix over the pairs (level, sigma), sigma fastest.
    - `slack`: by which share the longest step may exceed the shortest possible one. A
        little slack allows a shorter and more even path, which depends less on the
        spacing of the candidates.
    - `start`: the time at which the two begin to move.
    - `key`: for `Sinkhorn`, which draws slices and noise.

    **Returns:** a [`softsde.fitting.JointSchedule`][].

    **Raises:** `ValueError` for unsorted candidates or levels that the corruption does
    not have, noise that is not positive, too many or too few points, no data or data
    that is not finite, and distances that are not finite or of another shape.

    !!! example

        ```python
        blur = ss.corruptions.HeatBlur(shape)
        joint = ss.fitting.joint_schedule(
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
    levels = check_levels(owner, corruption, levels)
    sigmas = check_increasing(owner, "sigmas", sigmas)
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
    # Nodes are numbered level by level and a path goes upwards in number, so it never
    # lowers the level. That it does not lower the noise either is enforced here.
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
    """The path of `num_points` nodes, first to last, with the least sum of costs."""
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
    """The cost of the coupling that keeps the clean sample and the noise."""
    squared = coupling_distances(corruption, levels, data) ** 2
    components = int(np.prod(np.shape(data)[1:]))
    noise = components * np.square(sigmas[:, None] - sigmas[None])
    total = squared[:, None, :, None] + noise[None, :, None, :]
    return np.sqrt(total).reshape(levels.size * sigmas.size, -1)


def _gaussian(corruption, levels, sigmas, data) -> np.ndarray:
    """Between Gaussians with independent coordinates: Euclidean, in (m, s)."""
    mean, variance = _coordinate_moments(corruption, levels, data)
    spread = np.sqrt(variance[:, None, :] + np.square(sigmas)[None, :, None])
    means = np.broadcast_to(mean[:, None, :], spread.shape)
    places = np.concatenate([means, spread], axis=-1)
    places = places.reshape(levels.size * sigmas.size, -1)
    # Centred, since the difference of squares then loses the least to rounding.
    places = places - places.mean(axis=0)
    norms = np.einsum("ij,ij->i", places, places)
    squared = norms[:, None] + norms[None] - 2 * places @ places.T
    return np.sqrt(np.maximum(squared, 0))


def _coordinate_moments(corruption, levels, data):
    """Means and variances of the coordinates of `C(theta) x0`, `(levels, size)`."""
    rotate = _basis(corruption, data)
    thetas = jnp.asarray(levels, sample_dtype(data))
    # Without this shift the variance would be a difference of two large numbers.
    shift = mean_sample(data)
    total = squares = base = np.zeros(1)
    for batch in batches(data):
        sums = _coordinate_sums(corruption, rotate, thetas, batch, shift)
        first, second, base = (np.asarray(value, np.float64) for value in sums)
        total, squares = total + first, squares + second
    offset, second = total / len(data), squares / len(data)
    return base + offset, np.maximum(second - offset**2, 0)


class _Rotation(eqx.Module):
    """Coordinates in the corruption's own basis, or along the rows of a matrix."""

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
    # All directions and not only those that the data spans, since noise has all.
    vectors = np.linalg.eigh(covariance)[1].T
    return _Rotation(None, jnp.asarray(vectors, sample_dtype(data)))


@eqx.filter_jit
def _coordinate_sums(corruption, rotate, levels, batch, shift):
    def at(theta):
        corrupt = lambda x: rotate(corruption.apply(theta, x))
        z = jax.vmap(corrupt)(batch - shift[None])
        return jnp.sum(z, axis=0), jnp.sum(z**2, axis=0), corrupt(shift)

    return jax.lax.map(at, levels)


_METRICS: dict[str, Metric] = {"gaussian": _gaussian, "coupling": _coupling}

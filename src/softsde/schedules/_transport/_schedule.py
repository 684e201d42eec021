r"""Level schedules by optimal transport, in closed form (the paper's Section 3.3).

The paper asks for levels between which the distribution of corrupted data moves evenly,
as measured by the 2-Wasserstein distance. For symmetric positive semi-definite families
that commute, $C_j C_i^+$ is the gradient of a convex function, so by Brenier's theorem
it is the optimal map and

$$W_2^2(C_i \# q_0,\, C_j \# q_0) = E \lVert C_i x_0 - C_j x_0 \rVert^2.$$

For every other family the right-hand side is the cost of one coupling, an upper bound.
All pairs follow from one pass over the data: with the increments
$\delta_a = C_a x_0 - C_{a-1} x_0$, the distance of $(i, j)$ is the sum over the block
$i < a, b \le j$ of $E \langle \delta_a, \delta_b \rangle$. Summing increments, rather
than subtracting second moments, keeps the small distances exact in float32.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ...corruptions import AbstractCorruption
from .._piecewise_linear import PiecewiseLinear
from ._path import even_path


class TransportSchedule(eqx.Module):
    """The schedule that `transport_schedule` chose, and what it was chosen from."""

    #: The level as a function of time.
    schedule: PiecewiseLinear
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: Distances between all pairs of candidates, in the units of the data.
    distances: Float[np.ndarray, "candidates candidates"]
    #: Indices of the chosen candidates.
    path: tuple[int, ...] = eqx.field(static=True)
    #: The longest step on the path.
    epsilon: float = eqx.field(static=True)


@eqx.filter_jit
def _increment_products(corruption, levels, batch):
    """Sum over the batch of inner products of increments, `(levels-1, levels-1)`."""
    corrupted = jax.vmap(
        lambda theta: jax.vmap(lambda x: corruption.apply(theta, x))(batch)
    )(levels)
    increments = jnp.diff(corrupted, axis=0).reshape(levels.size - 1, -1)
    return jnp.matmul(increments, increments.T, precision="highest")


def coupling_distances(
    corruption: AbstractCorruption,
    levels: Float[np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    batch_size: int = 64,
) -> Float[np.ndarray, "candidates candidates"]:
    r"""$\sqrt{E \lVert C_i x_0 - C_j x_0 \rVert^2}$ for all pairs of levels.

    **Arguments:**

    - `corruption`, `levels`: the family and the levels to compare.
    - `data`: clean samples stacked in front; read `batch_size` at a time.

    **Returns:** the symmetric matrix of distances, in float64.
    """
    levels = np.asarray(levels)
    products = np.zeros((levels.size - 1, levels.size - 1))
    for start in range(0, len(data), batch_size):
        batch = jnp.asarray(data[start : start + batch_size])
        products += np.asarray(
            _increment_products(corruption, jnp.asarray(levels, batch.dtype), batch)
        )
    products /= len(data)
    # Block sums from a two-dimensional running total.
    total = np.zeros((levels.size, levels.size))
    total[1:, 1:] = products.cumsum(0).cumsum(1)
    diagonal = np.diagonal(total)
    squared = diagonal[:, None] + diagonal[None, :] - total - total.T
    return np.sqrt(np.maximum(squared, 0))


def transport_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_points: int = 32,
    start: float = 0.0,
) -> TransportSchedule:
    """Chooses levels between which the corrupted data moves by equal distances.

    The distances are those of the identity coupling: exact 2-Wasserstein distances for
    symmetric, positive semi-definite families that commute across levels, upper bounds
    for others (see this module's head).

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption.
    - `data`: clean samples stacked in front; a few thousand are enough.
    - `num_points`: how many candidates the path holds, ends included.
    - `start`: the time at which the level begins to move (the paper's noise grows in
        the first 20 % of the time, while the level waits).

    **Returns:** a [`softsde.schedules.TransportSchedule`][].

    **Raises:** `ValueError` for unsorted levels, fewer candidates than points, no data
    or data that is not finite.
    """
    levels = np.asarray(levels, np.float64)
    if levels.ndim != 1 or np.any(np.diff(levels) <= 0):
        raise ValueError(
            "`transport_schedule` needs strictly increasing `levels`; sort them and "
            "remove repeats."
        )
    if not 2 <= num_points <= levels.size:
        raise ValueError(
            f"`transport_schedule` got `num_points={num_points}`; expected 2 to "
            f"{levels.size}, the number of candidate levels."
        )
    if not 0 <= start < 1:
        raise ValueError(f"`transport_schedule` got `start={start}`; expected [0, 1).")
    if len(data) < 1:
        raise ValueError("`transport_schedule` got no data.")
    distances = coupling_distances(corruption, levels, data)
    if not np.isfinite(distances).all():
        raise ValueError("`transport_schedule` got data that is not finite.")
    path = even_path(distances, num_points)
    steps = distances[path[:-1], path[1:]]
    schedule = PiecewiseLinear(np.linspace(start, 1.0, num_points), levels[list(path)])
    return TransportSchedule(schedule, levels, distances, path, float(steps.max()))

r"""A check of transport distances that takes nothing on trust.

On a slice of $n$ images the identity coupling is one assignment among $n!$, so its cost
is at least that of the best. Any function $f$ on the first side gives a bound from the
other side, by the dual of Kantorovich's problem: with $g_b = \min_a (c_{ab} - f_a)$,
the mean of $f$ plus that of $g$ is at most the cost of every assignment. Brenier's
potential, $f_a = \lVert u_a \rVert^2 - \langle u_a, v_a \rangle$ for the pairs
$(u_a, v_a)$, makes the two bounds meet wherever the theorem holds. Where it holds only
nearly, relaxing $f_a \le f_b + c_{ab} - c_{bb}$ as a shortest-path search does closes
the gap, if the identity is the best assignment.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_samples
from ...corruptions import AbstractCorruption
from ._sinkhorn import Sinkhorn


class Certificate(eqx.Module):
    r"""Squared distances of a slice at pairs of levels, from below and from above.

    `lower` $\le$ `assignment` $\le$ `coupling`, and where the first and the last meet
    all three are $W_2^2$.
    """

    #: The pairs of levels.
    pairs: Float[np.ndarray, "pairs 2"]
    #: $E \lVert C_i x - C_j x \rVert^2$: what the closed form says.
    coupling: Float[np.ndarray, " pairs"]
    #: The exact assignment, by SciPy.
    assignment: Float[np.ndarray, " pairs"]
    #: A feasible point of the dual problem: no coupling costs less.
    lower: Float[np.ndarray, " pairs"]
    #: The estimate of the Sinkhorn metric, where one was given.
    sinkhorn: Float[np.ndarray, " pairs"] | None

    @property
    def gap(self) -> Float[np.ndarray, " pairs"]:
        """Duality gap of the closed form, as a share of it: zero proves it."""
        return (self.coupling - self.lower) / np.where(
            self.coupling > 0, self.coupling, 1
        )

    @property
    def coupling_error(self) -> Float[np.ndarray, " pairs"]:
        """How far the closed form is above the exact assignment, as a share of that."""
        return _relative(self.coupling, self.assignment)

    @property
    def sinkhorn_error(self) -> Float[np.ndarray, " pairs"] | None:
        """How far the Sinkhorn metric is off the exact assignment, as a share of it."""
        if self.sinkhorn is None:
            return None
        return _relative(self.sinkhorn, self.assignment)


def certify(
    corruption: AbstractCorruption,
    pairs: Float[Array | np.ndarray, "pairs 2"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_samples: int = 500,
    sinkhorn: Sinkhorn | None = None,
    key: PRNGKeyArray,
) -> Certificate:
    r"""Bounds and the exact assignment for the distances between pairs of levels.

    On one slice of the data, whose costs are summed in double precision: the closed
    form, a lower bound by duality, SciPy's exact assignment, and a Sinkhorn metric
    beside them.

    **Arguments:**

    - `corruption`: the family.
    - `pairs`: of its levels, such as the steps of a path,
        `np.stack([levels[path[:-1]], levels[path[1:]]], axis=1)`.
    - `data`: clean samples stacked in front.
    - `num_samples`: how many of them to draw; the assignment takes time that grows
        with the cube of it.
    - `sinkhorn`: a metric to compare with, on the same samples; of its settings only
        those of the solver matter.
    - `key`: draws the samples.

    **Returns:** a [`softsde.schedules.Certificate`][], of squared distances.

    **Raises:** `ValueError` for pairs of another shape, levels that the corruption
    does not have, or fewer than two samples; `TypeError` for data that is not
    floating-point.

    ```python
    blur = ss.corruptions.HeatBlur(shape)
    pairs = np.array([[0.5, 1.0], [1.0, 4.0]])
    certificate = ss.schedules.certify(blur, pairs, images, num_samples=4, key=key)
    assert (certificate.gap < 1e-4).all()
    ```
    """
    import scipy.optimize

    pairs = np.asarray(pairs, np.float64)
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise ValueError(
            f"`certify` got `pairs` of shape {pairs.shape}; expected two levels a "
            "row, `(pairs, 2)`."
        )
    corruption.check_level(pairs)
    check_samples("certify", data)
    if not 2 <= num_samples <= len(data):
        raise ValueError(
            f"`certify` got `num_samples={num_samples}` of {len(data)} samples; "
            "expected two at least, and no more than there are."
        )
    chosen = jax.random.choice(key, len(data), (num_samples,), replace=False)
    images = jnp.asarray(data[np.sort(np.asarray(chosen))])

    rows = []
    for pair in pairs:
        u, v = (
            np.asarray(_corrupt(corruption, theta, images), np.float64)
            for theta in jnp.asarray(pair, images.dtype)
        )
        costs = _costs(u, v)
        best = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
        potential = np.square(u).sum(1) - (u * v).sum(1)
        rows.append((np.diagonal(costs).mean(), best, _lower_bound(costs, potential)))
    coupling, assignment, lower = np.array(rows).reshape(-1, 3).T

    estimate = None
    if sinkhorn is not None:
        slices = np.asarray(images)[None]
        zeros = np.zeros((len(pairs), 1, 4, num_samples), slices.dtype)
        estimate, _ = sinkhorn.squared_distances(
            corruption, pairs.astype(slices.dtype), slices, np.zeros_like(slices), zeros
        )
    return Certificate(pairs, coupling, assignment, lower, estimate)


@eqx.filter_jit
def _corrupt(corruption, theta, images):
    out = jax.vmap(lambda image: corruption.apply(theta, image))(images)
    return out.reshape(len(images), -1)


def _costs(u, v):
    """Squared distances, with a diagonal that is exact."""
    costs = np.square(u).sum(1)[:, None] + np.square(v).sum(1)[None] - 2 * u @ v.T
    np.fill_diagonal(costs, np.square(u - v).sum(1))
    return costs


def _lower_bound(costs, potential, steps=64):
    """The best of the dual values on the way to the identity's own potential."""
    own = np.diagonal(costs)
    bound = -np.inf
    for _ in range(steps):
        other_side = (costs - potential[:, None]).min(axis=0)
        bound = max(bound, potential.mean() + other_side.mean())
        relaxed = (costs - (own - potential)[None]).min(axis=1)
        if np.array_equal(relaxed, potential):
            break
        potential = relaxed
    return bound


def _relative(value, truth):
    return value / np.where(truth > 0, truth, 1) - (truth > 0)

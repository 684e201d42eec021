r"""A check of transport distances that needs no theorem about the corruption.

On a slice of $n$ images the identity coupling is one assignment among $n!$, so its cost
is an upper bound on that of the best. The dual of Kantorovich's problem gives a lower
bound from any function $f$ on the first side: with $g_b = \min_a (c_{ab} - f_a)$, the
mean of $f$ plus that of $g$ is at most the cost of every assignment. With Brenier's
potential, $f_a = \lVert u_a \rVert^2 - \langle u_a, v_a \rangle$ for the pairs
$(u_a, v_a)$, the two bounds meet wherever the theorem holds. If it holds only nearly,
relaxing $f_a \le f_b + c_{ab} - c_{bb}$, as in a shortest-path search, closes the gap,
provided that the identity is the best assignment.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_samples
from ...corruptions import AbstractCorruption
from .._batches import corrupted_rows
from ._sinkhorn import Sinkhorn


class Certificate(eqx.Module):
    r"""Squared distances of a slice at pairs of levels, from below and from above.

    `lower` $\le$ `assignment` $\le$ `coupling`. If `lower` and `coupling` are equal,
    all three are $W_2^2$.
    """

    #: The pairs of levels.
    pairs: Float[np.ndarray, "pairs 2"]
    #: The closed form, $E \lVert C_i x - C_j x \rVert^2$.
    coupling: Float[np.ndarray, " pairs"]
    #: The exact assignment, by SciPy.
    assignment: Float[np.ndarray, " pairs"]
    #: The value of a feasible point of the dual problem; no coupling costs less.
    lower: Float[np.ndarray, " pairs"]
    #: The estimate of the Sinkhorn metric; None if no metric was given.
    sinkhorn: Float[np.ndarray, " pairs"] | None

    @property
    def gap(self) -> Float[np.ndarray, " pairs"]:
        """Duality gap of the closed form, relative to it. Zero proves it exact."""
        return (self.coupling - self.lower) / np.where(
            self.coupling > 0, self.coupling, 1
        )

    @property
    def coupling_error(self) -> Float[np.ndarray, " pairs"]:
        """Excess of the closed form over the exact assignment, relative to that."""
        return _relative(self.coupling, self.assignment)

    @property
    def sinkhorn_error(self) -> Float[np.ndarray, " pairs"] | None:
        """Error of the Sinkhorn metric, relative to the exact assignment."""
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
    r"""Checks the distances between pairs of levels against exact assignments.

    For one slice of the data it computes the closed form, a lower bound by duality,
    SciPy's exact assignment and, if given, a Sinkhorn metric. Costs are summed in
    double precision.

    **Arguments:**

    - `corruption`: the family.
    - `pairs`: pairs of levels, such as the steps of a path,
        `np.stack([levels[path[:-1]], levels[path[1:]]], axis=1)`.
    - `data`: clean samples stacked in front.
    - `num_samples`: how many of them to draw. The time for the assignment grows with
        the cube of this number.
    - `sinkhorn`: a metric to compare with, on the same samples. Only its solver
        settings are used.
    - `key`: draws the samples.

    **Returns:** a [`softsde.fitting.Certificate`][], of squared distances.

    **Raises:** `ValueError` for pairs of another shape, levels that the corruption
    does not have, or fewer than two samples; `TypeError` for data that is not
    floating-point.

    !!! example

        ```python
        blur = ss.corruptions.HeatBlur(shape)
        pairs = np.array([[0.5, 1.0], [1.0, 4.0]])
        certificate = ss.fitting.certify(blur, pairs, images, num_samples=4, key=key)
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
            "expected at least two, and no more than there are."
        )
    chosen = jax.random.choice(key, len(data), (num_samples,), replace=False)
    images = jnp.asarray(data[np.sort(np.asarray(chosen))])

    rows = []
    for pair in pairs:
        u, v = (
            corrupted_rows(corruption, theta, images)
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


def _costs(u, v):
    """Squared distances of all pairs; those on the diagonal have no cancellation."""
    costs = np.square(u).sum(1)[:, None] + np.square(v).sum(1)[None] - 2 * u @ v.T
    np.fill_diagonal(costs, np.square(u - v).sum(1))
    return costs


def _lower_bound(costs, potential, steps=64):
    """The best dual value while the potential is relaxed towards the identity's."""
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

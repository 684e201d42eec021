"""Precision and recall: are the samples plausible, and do they cover the data?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from ._arrays import AnyArray, as_features, check_positive_int, check_same_dim
from ._pairwise import blocks, squared_distances


class PrecisionRecall(NamedTuple):
    """Fractions in `[0, 1]`: of plausible samples, and of data that are covered."""

    precision: float
    recall: float


def precision_recall(
    samples: Shaped[AnyArray, "num_samples dim_samples"],
    data: Shaped[AnyArray, "num_data dim_data"],
    *,
    k: int = 3,
    chunk: int = 2048,
) -> PrecisionRecall:
    """Improved precision and recall of Kynkaanniemi et al. (2019).

    Each set is given a manifold: the union of the balls around its members that reach
    to their `k`-th nearest fellow member. Precision is the fraction of samples in the
    data's manifold, recall the fraction of data in the samples'.

    Both depend on the set sizes and the feature space: compare at equal sizes, and give
    both along with the figures. Two sets of one distribution score below 1.

    **Arguments:**

    - `samples`, `data`: features, one row a sample.
    - `k`: which neighbour sets the radius; less than either set's size.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    `PrecisionRecall(precision, recall)`.

    **Raises:** `ValueError` for entries that are not finite, rows of different lengths,
    or sets of at most `k` members.

    ```python
    precision, recall = precision_recall(features, reference)
    ```
    """
    check_positive_int("k", k)
    check_positive_int("chunk", chunk)
    # A k-th *other* member is needed.
    samples = as_features("samples", samples, at_least=k + 1)
    data = as_features("data", data, at_least=k + 1)
    check_same_dim("samples", samples, "data", data)
    return PrecisionRecall(
        precision=_covered(samples, data, k, chunk),
        recall=_covered(data, samples, k, chunk),
    )


def _covered(points: np.ndarray, members: np.ndarray, k: int, chunk: int) -> float:
    """The fraction of `points` that lie in the manifold of `members`."""
    radii = _squared_radii(members, k, chunk)
    inside = np.zeros(len(points), bool)
    for rows, block in blocks(points, chunk):
        for columns, member_block in blocks(members, chunk):
            near = squared_distances(block, member_block) <= radii[columns]
            inside[rows] |= near.any(axis=1)
    return float(inside.mean())


def _squared_radii(members: np.ndarray, k: int, chunk: int) -> np.ndarray:
    """Squared distances to the `k`-th fellow member, rounded up.

    The k + 1 smallest distances include the member's own, zero, so their largest is the
    one to the k-th other, whether or not some others coincide with it. Rounding up, by
    the error of `squared_distances`, keeps a point that repeats a member inside also
    when k others coincide there and the radius is zero.
    """
    radii = np.empty(len(members))
    for rows, block in blocks(members, chunk):
        nearest = np.empty((len(block), 0))
        for _, other in blocks(members, chunk):
            squared = np.concatenate([nearest, squared_distances(block, other)], axis=1)
            kth = min(k, squared.shape[1] - 1)
            nearest = np.partition(squared, kth, axis=1)[:, : k + 1]
        norms = np.einsum("ij,ij->i", block, block)
        slack = 4 * members.shape[1] * np.finfo(np.float64).eps * norms
        radii[rows] = nearest.max(axis=1) + slack
    return radii

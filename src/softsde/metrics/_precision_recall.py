"""Precision and recall: are the samples plausible, and do they cover the data?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from ._arrays import AnyArray, as_features, check_comparable, check_positive_int
from ._pairwise import blocks, squared_distances
from ._radii import squared_radii


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
    precision, recall = ss.metrics.precision_recall(features, reference)
    ```
    """
    check_positive_int("k", k)
    check_positive_int("chunk", chunk)
    # A k-th *other* member is needed.
    samples = as_features("samples", samples, at_least=k + 1)
    data = as_features("data", data, at_least=k + 1)
    check_comparable("samples", samples, "data", data)
    sample_radii = squared_radii(samples, k, chunk)
    data_radii = squared_radii(data, k, chunk)
    plausible = np.zeros(len(samples), bool)
    covered = np.zeros(len(data), bool)
    for rows, sample_block in blocks(samples, chunk):
        for columns, data_block in blocks(data, chunk):
            squared = squared_distances(sample_block, data_block)
            plausible[rows] |= (squared <= data_radii[columns]).any(axis=1)
            covered[columns] |= (squared.T <= sample_radii[rows]).any(axis=1)
    return PrecisionRecall(float(plausible.mean()), float(covered.mean()))

"""Density and coverage: precision and recall that outliers do not spoil."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Shaped

from ._arrays import AnyArray, as_features, check_comparable, check_positive_int
from ._pairwise import blocks, squared_distances
from ._radii import squared_radii


class DensityCoverage(NamedTuple):
    """Mean number of data balls around a sample, over `k`; fraction of balls hit."""

    density: float
    coverage: float


def density_coverage(
    samples: Shaped[AnyArray, "num_samples dim_samples"],
    data: Shaped[AnyArray, "num_data dim_data"],
    *,
    k: int = 5,
    chunk: int = 2048,
) -> DensityCoverage:
    r"""Density and coverage of Naeem et al. (2020, Eq. 6 and 8).

    Around each datum lies the ball that reaches to its `k`-th nearest fellow datum.
    *Density* is the mean number of balls that hold a sample, divided by `k`; it may be
    above 1. *Coverage* is the fraction of balls that hold at least one sample. Only the
    data have balls, so an outlier among the samples spoils neither number.

    If both sets have the same distribution, the density is 1 on average, and the
    coverage, with $N$ data and $M$ samples, is on average

    $$1 - \frac{(N - 1) \cdots (N - k)}{(M + N - 1) \cdots (M + N - k)},$$

    which is about $1 - 2^{-k}$ for sets of equal size; see `expected_coverage`.

    **Arguments:**

    - `samples`, `data`: features, one row a sample.
    - `k`: which neighbour sets the radius; less than the number of data.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    `DensityCoverage(density, coverage)`.

    **Raises:** `ValueError` for entries that are not finite, rows of different lengths,
    or at most `k` data.

    ```python
    density, coverage = ss.metrics.density_coverage(features, reference)
    ```
    """
    check_positive_int("k", k)
    check_positive_int("chunk", chunk)
    samples = as_features("samples", samples)
    # A k-th *other* datum is needed.
    data = as_features("data", data, at_least=k + 1)
    check_comparable("samples", samples, "data", data)
    radii = squared_radii(data, k, chunk)
    hits, covered = 0, np.zeros(len(data), bool)
    for columns, data_block in blocks(data, chunk):
        for _, sample_block in blocks(samples, chunk):
            inside = squared_distances(data_block, sample_block).T <= radii[columns]
            hits += int(np.count_nonzero(inside))
            covered[columns] |= inside.any(axis=0)
    return DensityCoverage(hits / (k * len(samples)), float(covered.mean()))


def expected_coverage(num_samples: int, num_data: int, k: int = 5) -> float:
    """The mean coverage of samples that have the distribution of the data.

    **Arguments:**

    - `num_samples`, `num_data`: the sizes of the two sets.
    - `k`: which neighbour sets the radius.

    **Returns:** a number in `[0, 1]`.
    """
    if not 1 <= k < num_data:
        raise ValueError(
            f"`k` is {k} for {num_data} data; expected 1 <= k < {num_data}."
        )
    # A ball is missed if the k points nearest to its centre are all data.
    places = np.arange(1, k + 1)
    missed = np.prod((num_data - places) / (num_samples + num_data - places))
    return float(1 - missed)

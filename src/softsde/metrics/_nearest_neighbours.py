"""Exact nearest neighbours: has the model copied its training set?"""

import numpy as np
from jaxtyping import Float64, Int, Shaped

from ._arrays import AnyArray, check_comparable, check_positive_int, flatten
from ._pairwise import blocks, squared_distances


def nearest_neighbours(
    queries: Shaped[AnyArray, "num_queries ..."],
    data: Shaped[AnyArray, "num_data ..."],
    *,
    k: int = 1,
    chunk: int = 2048,
) -> tuple[Int[np.ndarray, "num_queries k"], Float64[np.ndarray, "num_queries k"]]:
    """The `k` nearest members of `data` to each query, in Euclidean distance.

    The search is exhaustive and in float64, as matrix products of `chunk` queries by
    `chunk` members; in high dimensions this beats any tree. Nothing larger than
    `chunk * (chunk + 2 * dim)` numbers is held besides the inputs, so `data` may be a
    memory map.

    **Arguments:**

    - `queries`: a batch of arrays of any shape, each flattened to a vector.
    - `data`: the set that is searched, of arrays of the same size.
    - `k`: how many neighbours, at most `len(data)`. If `queries` are members of `data`,
        each finds itself first: ask for `k + 1`.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    `(indices, distances)`, both of shape `(num_queries, k)`, nearest first, and
    equally near ones in the order of `data`.

    **Raises:** `ValueError` for empty sets, entries that are not finite, arrays of
    different sizes, or `k` out of range.

    ```python
    indices, distances = ss.metrics.nearest_neighbours(samples, train_images, k=3)
    ss.plotting.plot_neighbours(samples, train_images[indices], "neighbours.png")
    ```
    """
    queries, data = flatten("queries", queries), flatten("data", data)
    check_comparable("queries", queries, "data", data)
    check_positive_int("k", k)
    check_positive_int("chunk", chunk)
    if k > len(data):
        raise ValueError(
            f"`k` is {k}, but `data` has {len(data)} members only. Ask for fewer."
        )
    indices = np.empty((len(queries), k), np.int64)
    distances = np.empty((len(queries), k), np.float64)
    for rows, block in blocks(queries, chunk):
        best = np.empty((len(block), 0), np.int64)
        squared = np.empty((len(block), 0), np.float64)
        for members, data_block in blocks(data, chunk):
            near, near_squared = _smallest(squared_distances(block, data_block), k)
            best = np.concatenate([best, near + members.start], axis=1)
            squared = np.concatenate([squared, near_squared], axis=1)
            order, squared = _smallest(squared, k)
            best = np.take_along_axis(best, order, axis=1)
        # The matrix product chooses; differences measure, as they lose no digits when a
        # sample is almost a training image, which is the very case looked for.
        exact = np.stack(
            [np.linalg.norm(block - data[column], axis=1) for column in best.T], axis=1
        )
        order = np.lexsort((best, exact), axis=1)
        indices[rows] = np.take_along_axis(best, order, axis=1)
        distances[rows] = np.take_along_axis(exact, order, axis=1)
    return indices, distances


def _smallest(
    x: Float64[np.ndarray, "rows columns"], k: int
) -> tuple[Int[np.ndarray, "rows kept"], Float64[np.ndarray, "rows kept"]]:
    """Columns and values of the `k` smallest entries of each row, in no order."""
    if k >= x.shape[1]:
        columns = np.broadcast_to(np.arange(x.shape[1]), x.shape)
    elif k == 1:
        columns = x.argmin(axis=1, keepdims=True)
    else:
        columns = np.argpartition(x, k - 1, axis=1)[:, :k]
    return columns, np.take_along_axis(x, columns, axis=1)

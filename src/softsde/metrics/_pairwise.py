"""All squared distances between two sets, a block at a time, as one matrix product."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float


def squared_distances(
    a: Float[np.ndarray, "num_a dim"], b: Float[np.ndarray, "num_b dim"]
) -> Float[np.ndarray, "num_a num_b"]:
    """`|a_i - b_j|^2`, with an error of rounding size in `|a_i|^2 + |b_j|^2`.

    In float64 this error is far below any difference between distinct images, and
    there is none at all for integers, so ties stay ties.
    """
    cross = a @ b.T
    cross *= -2
    cross += np.einsum("ij,ij->i", a, a)[:, None]
    cross += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(cross, 0, out=cross)


def blocks(
    x: np.ndarray, size: int
) -> Iterator[tuple[slice, Float[np.ndarray, "num dim"]]]:
    """The rows of `x` in blocks, converted to float64 only as they are reached."""
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        yield rows, x[rows].astype(np.float64)

"""Radii that reach to the k-th nearest fellow member of a set."""

import numpy as np

from ._nearest_neighbours import nearest_neighbours
from ._pairwise import blocks


def squared_radii(members: np.ndarray, k: int, chunk: int) -> np.ndarray:
    """Squared distances to the `k`-th fellow member, rounded up.

    The k + 1 nearest include the member itself, at distance zero, so the last of them
    is the k-th other, whether or not some others coincide with it. Rounding up, by the
    error of `squared_distances`, keeps a point that repeats a member inside also where
    k others coincide with it and the radius is zero.
    """
    _, distances = nearest_neighbours(members, members, k=k + 1, chunk=chunk)
    norms = np.concatenate(
        [np.einsum("ij,ij->i", block, block) for _, block in blocks(members, chunk)]
    )
    rounding = 4 * members.shape[1] * np.finfo(np.float64).eps
    return distances[:, -1] ** 2 + rounding * norms

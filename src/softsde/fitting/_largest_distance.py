r"""The largest distance between two data points, which the largest noise must cover.

All pairs of $n$ points are $n^2 / 2$ distances. With $r_i = \lVert x_i - c \rVert$ the
distance to any centre $c$, the triangle inequality bounds the distance of a pair by
$r_i + r_j$. With the points sorted by $r$, most blocks of pairs can be skipped.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

_BLOCK = 1024


class LargestDistance(NamedTuple):
    """The result of `largest_distance`."""

    #: The largest distance among the pairs that were compared.
    distance: float
    #: An upper bound over all pairs of the data; equal to `distance` if that is exact.
    bound: float
    #: The indices of a pair at that distance.
    pair: tuple[int, int]


def largest_distance(
    data: Float[Array | np.ndarray, "number *shape"], *, limit: int | None = None
) -> LargestDistance:
    r"""$\max_{ij} \lVert x_i - x_j \rVert$, the largest noise of a VE process.

    With this much noise every point of the data can be reached from every other
    (Technique 1 of Song and Ermon; their $\sigma_1$ is `sigma_max` here). The search is
    exact, and skips the pairs that the triangle inequality rules out.

    **Arguments:**

    - `data`: clean samples stacked in front.
    - `limit`: compare only this many points, those furthest from the mean. The distance
        is then a lower bound and `bound` an upper one. If the two are equal, the
        distance is exact nevertheless.

    **Returns:** a [`softsde.fitting.LargestDistance`][].

    **Raises:** `ValueError` for fewer than two samples, or data that is not finite.

    !!! example

        ```python
        sigma_max = ss.fitting.largest_distance(images).distance
        process = ss.ve(sigma_max=sigma_max)
        ```

    ??? cite "Reference"

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020, Section 3.1.
    """
    number = len(data)
    if number < 2:
        raise ValueError(
            f"`largest_distance` needs at least two samples, got {number}."
        )
    if limit is not None and limit < 2:
        raise ValueError(
            f"`largest_distance` got `limit={limit}`; expected at least 2, or None."
        )
    data = np.asarray(data).reshape(number, -1)
    centre = data.mean(axis=0, dtype=np.float64)
    radii = np.concatenate(
        [
            np.linalg.norm(data[start : start + _BLOCK] - centre, axis=1)
            for start in range(0, number, _BLOCK)
        ]
    )
    if not np.isfinite(radii).all():
        raise ValueError("`largest_distance` got data that is not finite.")
    order = np.argsort(-radii, kind="stable")
    radii = radii[order]
    compared = number if limit is None else min(limit, number)

    best, pair = -1.0, (0, 1)
    for i in range(0, compared, _BLOCK):
        # No pair of this block, or of a later one, can be further apart.
        if 2 * radii[i] <= best:
            break
        rows = slice(i, min(i + _BLOCK, compared))
        a = data[order[rows]].astype(np.float64) - centre
        for j in range(i, compared, _BLOCK):
            if radii[i] + radii[j] <= best:
                break
            columns = slice(j, min(j + _BLOCK, compared))
            b = data[order[columns]].astype(np.float64) - centre
            squared = radii[rows, None] ** 2 + radii[None, columns] ** 2 - 2 * a @ b.T
            row, column = np.unravel_index(squared.argmax(), squared.shape)
            # Computed again, because the sum of squares cancels for close points.
            distance = float(np.linalg.norm(a[row] - b[column]))
            if distance > best:
                best = distance
                pair = (int(order[i + row]), int(order[j + column]))
    bound = best
    if compared < number:
        bound = max(best, float(radii[0] + radii[compared]))
    return LargestDistance(best, bound, (min(pair), max(pair)))

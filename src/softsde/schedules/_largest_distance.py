r"""The largest distance between two data points: how far the largest noise must reach.

All pairs of $n$ points would be $n^2 / 2$ distances. But with $r_i = \lVert x_i - c
\rVert$ about any centre $c$, the triangle inequality bounds that of a pair by
$r_i + r_j$. Sorted by $r$, most blocks of pairs need no look at all.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float

_BLOCK = 1024


class LargestDistance(NamedTuple):
    """What `largest_distance` found."""

    #: The largest distance among the pairs that were compared.
    distance: float
    #: No pair of the whole data is further apart; `distance` itself when that is exact.
    bound: float
    #: The indices of a pair at that distance.
    pair: tuple[int, int]


def largest_distance(
    data: Float[Array | np.ndarray, "number *shape"], *, limit: int | None = None
) -> LargestDistance:
    r"""$\max_{ij} \lVert x_i - x_j \rVert$, the largest noise of a VE process.

    With so much noise every point of the data can be reached from every other
    (Technique 1 of Song and Ermon: their $\sigma_1$, here `sigma_max`). The search is
    exact and passes over the pairs that the triangle inequality rules out.

    **Arguments:**

    - `data`: clean samples stacked in front.
    - `limit`: compare only so many points, those furthest from the mean. The answer is
        then a lower bound; `bound` is an upper one, and where the two are equal the
        answer is exact all the same.

    **Returns:** a [`softsde.schedules.LargestDistance`][].

    **Raises:** `ValueError` for fewer than two samples, or data that is not finite.

    !!! example

        ```python
        sigma_max = ss.schedules.largest_distance(images).distance
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
            # Anew, for the sum of squares cancels where points are close.
            distance = float(np.linalg.norm(a[row] - b[column]))
            if distance > best:
                best = distance
                pair = (int(order[i + row]), int(order[j + column]))
    bound = best
    if compared < number:
        bound = max(best, float(radii[0] + radii[compared]))
    return LargestDistance(best, bound, (min(pair), max(pair)))

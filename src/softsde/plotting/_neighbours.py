"""Samples beside their nearest training images, by which copies would be seen."""

import pathlib

import numpy as np
from jaxtyping import Float, Shaped

from .._files import PathLike
from ._grid import AnyArray
from ._png import save_grid


def plot_neighbours(
    samples: Shaped[AnyArray, "num ..."],
    neighbours: Shaped[AnyArray, "num_neighbours ..."],
    path: PathLike,
    *,
    distances: Float[AnyArray, "num_distances k"] | None = None,
    space: str = "pixels",
    scale: int = 2,
    title: str | None = None,
) -> pathlib.Path:
    """Each sample at the left of its row, its nearest training images to the right.

    **Arguments:**

    - `samples`: `(num, height, width, channels)`.
    - `neighbours`: `(num, k, height, width, channels)`, or without the `k` axis for one
        neighbour each.
    - `path`: of the PNG file.
    - `distances`: written under the neighbours, `(num, k)`.
    - `space`: in which the neighbours are nearest; said in the title.
    - `scale`: as for `image_grid`.
    - `title`: instead of the one that says all this.

    **Returns:**

    The path written.

    ```python
    indices, distances = ss.metrics.nearest_neighbours(samples, train_images, k=5)
    neighbours = train_images[indices]
    ss.plotting.plot_neighbours(samples, neighbours, "nn.png", distances=distances)
    ```
    """
    samples, neighbours = np.asarray(samples), np.asarray(neighbours)
    if neighbours.ndim == samples.ndim:
        neighbours = neighbours[:, None]
    num, k = neighbours.shape[:2]
    if samples.shape != (num, *neighbours.shape[2:]):
        raise ValueError(
            f"`samples` has shape {samples.shape} and `neighbours` {neighbours.shape};"
            " expected `(num, height, width, channels)` and `(num, k, height, width,"
            " channels)`. With indices from `nearest_neighbours`, pass `data[indices]`."
        )
    rows = np.concatenate([samples[:, None], neighbours], axis=1)
    labels = None
    if distances is not None:
        distances = np.asarray(distances)
        if distances.shape != (num, k):
            raise ValueError(
                f"`distances` has shape {distances.shape}, but there are {num} samples"
                f" with {k} neighbours each."
            )
        labels = [
            text for row in distances for text in ("sample", *(f"{d:.3g}" for d in row))
        ]
    if title is None:
        title = f"samples (left), nearest training images (L2, {space})"
    return save_grid(
        path,
        rows.reshape(-1, *samples.shape[1:]),
        columns=k + 1,
        scale=scale,
        pad=2,
        labels=labels,
        title=title,
    )

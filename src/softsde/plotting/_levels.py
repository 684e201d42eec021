"""The same images at one level after another."""

import pathlib

import numpy as np
from jaxtyping import Float, Shaped

from .._files import PathLike
from ._grid import AnyArray
from ._png import save_grid


def plot_levels(
    corrupted: Shaped[AnyArray, "num ..."],
    levels: Float[AnyArray, " levels"],
    file: PathLike,
    *,
    scale: int = 2,
    title: str | None = None,
) -> pathlib.Path:
    """A row an image, its level growing from left to right; the levels stand below.

    **Arguments:**

    - `corrupted`: `(num, levels, height, width, channels)`.
    - `levels`: of the columns.
    - `file`: of the PNG file.
    - `scale`: as for `image_grid`; images are made at least 40 pixels wide, so that the
        levels can be read.
    - `title`: above the picture.

    **Returns:** the path written.

    **Raises:** `ValueError` for images that are not one a level; `ImportError` without
    pillow.

    ```python
    blur = ss.corruptions.GaussianBlur((28, 28, 1))
    levels = np.array([0.1, 1.0, 3.0])
    blurred = np.stack([[blur.apply(v, x) for v in levels] for x in xs])
    ss.plotting.plot_levels(blurred, levels, "levels.png")
    ```
    """
    corrupted, levels = np.asarray(corrupted), np.asarray(levels)
    if corrupted.ndim != 5 or corrupted.shape[1] != levels.size:
        raise ValueError(
            f"`plot_levels` got images of shape {corrupted.shape} for {levels.size} "
            f"levels; expected `(num, {levels.size}, height, width, channels)`."
        )
    scale = max(scale, -(-40 // corrupted.shape[3]))
    labels = [""] * (levels.size * (len(corrupted) - 1))
    labels += [f"{level:.3g}" for level in levels]
    tiles = corrupted.reshape(-1, *corrupted.shape[2:])
    return save_grid(
        file, tiles, columns=levels.size, scale=scale, labels=labels, title=title
    )

"""Features of the place of a pixel or patch, for networks that would not know it."""

import numpy as np
from jaxtyping import Float


def position_features(
    rows: int, columns: int, width: int
) -> Float[np.ndarray, "patches width"]:
    r"""Sines and cosines of the row and the column of each pixel or patch.

    For a place $p$ (the row for the first half of the features, the column for the
    second) and $n$ = `width / 4` frequencies $\omega_k = 10000^{-k / n}$, the features
    are $\sin(\omega_k p)$ for all $k$, then $\cos(\omega_k p)$.

    **Arguments:**

    - `rows`, `columns`: pixels, or patches, along either side.
    - `width`: number of features, a multiple of 4.

    **Returns:** one row of features for each of them, row by row of the image.

    **Raises:** `ValueError` for another width.

    ??? cite "Reference"

        Vaswani et al., *Attention Is All You Need*, NeurIPS 2017.
    """
    if width < 4 or width % 4:
        raise ValueError(
            "`width` must be a positive multiple of 4, for sines and cosines of rows "
            f"and columns; got {width}. Use 16, for one."
        )
    frequencies = 10000.0 ** -(np.arange(width // 4) / (width // 4))

    def waves(places: np.ndarray) -> np.ndarray:
        angles = places.reshape(-1, 1) * frequencies
        return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)

    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    return np.concatenate([waves(row), waves(column)], axis=1)

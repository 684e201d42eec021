"""Linear algebra that several rooms need, in NumPy and double precision."""

import numpy as np
from jaxtyping import Float


def principal(
    rows: Float[np.ndarray, "number size"],
) -> tuple[Float[np.ndarray, " rank"], Float[np.ndarray, "rank size"]]:
    """Singular values, largest first, and right singular vectors of `rows`.

    They come from the eigenvectors of the smaller of the two Gram matrices, which is
    much faster than a singular value decomposition. The price is precision: directions
    whose singular value is below 1e-7 of the largest are lost in rounding, and dropped.

    **Arguments:**

    - `rows`: one sample a row, in double precision. For principal directions, subtract
        the mean first; a standard deviation is then the singular value over the root of
        `number - 1`.
    """
    number, size = rows.shape
    gram = rows.T @ rows if size <= number else rows @ rows.T
    squared, vectors = np.linalg.eigh(gram)
    squared, vectors = squared[::-1], vectors[:, ::-1]
    # Rounding may make eigenvalues negative, the largest too where all rows are zero.
    kept = squared > 1e-14 * max(squared[0], 0.0)
    scales = np.sqrt(squared[kept])
    if size <= number:
        return scales, vectors.T[kept]
    return scales, (vectors.T[kept] @ rows) / scales[:, None]

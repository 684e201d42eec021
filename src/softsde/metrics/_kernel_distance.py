"""Kernel distance: an unbiased relative of the Frechet distance, with error bars."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, PRNGKeyArray, Shaped

from ._arrays import AnyArray, as_features, check_comparable
from ._random import host_generator


class KernelDistance(NamedTuple):
    """A kernel distance (a square, yet it may be negative) and its standard error."""

    value: float
    standard_error: float


def kernel_distance(
    features_a: Shaped[AnyArray, "num_a dim_a"],
    features_b: Shaped[AnyArray, "num_b dim_b"],
    *,
    num_blocks: int = 10,
    key: PRNGKeyArray,
) -> KernelDistance:
    r"""Squared maximum mean discrepancy with a cubic kernel (Binkowski et al., 2018).

    $$\mathbb E\, k(a, a') + \mathbb E\, k(b, b') - 2\, \mathbb E\, k(a, b), \qquad
    k(x, y) = \Big( \frac{x \cdot y}{d} + 1 \Big)^3$$

    It compares the first three moments. Unlike the Frechet distance it is unbiased at
    any sample size: for equal distributions it is zero on average, hence sometimes
    negative. With Inception features, and with no others, it is their KID.

    Both sets are shuffled and cut into `num_blocks` disjoint blocks; the value is the
    mean of the blocks' estimates and the standard error that of this mean, honest
    because the blocks share no sample.

    **Arguments:**

    - `features_a`, `features_b`: one row a sample.
    - `num_blocks`: at least 2, and few enough for 2 rows of either set in each. Fewer
        give a slightly smaller error, more a better idea of it.
    - `key`: shuffles, as data sets are often ordered by class.

    **Returns:**

    `KernelDistance(value, standard_error)`.

    **Raises:** `ValueError` for entries that are not finite, rows of different lengths,
    or sets too small for the blocks.

    ```python
    value, error = ss.metrics.kernel_distance(features, reference, key=key)
    ```
    """
    features_a = as_features("features_a", features_a)
    features_b = as_features("features_b", features_b)
    check_comparable("features_a", features_a, "features_b", features_b)
    smallest = min(len(features_a), len(features_b))
    if not 2 <= num_blocks <= smallest // 2:
        raise ValueError(
            f"`num_blocks` is {num_blocks}, with {len(features_a)} and"
            f" {len(features_b)} rows; at least 2 blocks with 2 rows each are needed."
            + (
                f" Choose it between 2 and {smallest // 2}."
                if smallest >= 4
                else " Draw more samples."
            )
        )
    rng = host_generator(key)
    order_a = rng.permutation(len(features_a))
    order_b = rng.permutation(len(features_b))
    estimates = [
        _unbiased(features_a[a].astype(np.float64), features_b[b].astype(np.float64))
        for a, b in zip(
            np.array_split(order_a, num_blocks),
            np.array_split(order_b, num_blocks),
            strict=True,
        )
    ]
    error = np.std(estimates, ddof=1) / np.sqrt(num_blocks)
    return KernelDistance(float(np.mean(estimates)), float(error))


def _unbiased(
    a: Float[np.ndarray, "num_a dim"], b: Float[np.ndarray, "num_b dim"]
) -> float:
    """The U-statistic: no sample is paired with itself."""

    def within(x):
        kernel = _kernel(x, x)
        return (kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * _kernel(a, b).mean()


def _kernel(
    x: Float[np.ndarray, "num_x dim"], y: Float[np.ndarray, "num_y dim"]
) -> Float[np.ndarray, "num_x num_y"]:
    root = x @ y.T / x.shape[1] + 1
    # Many times faster than `root**3`.
    return root * root * root

"""Authenticity: which samples are copies of training data?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from ._arrays import AnyArray, check_comparable, check_positive_int, flatten
from ._nearest_neighbours import nearest_neighbours


class Authenticity(NamedTuple):
    """Authentic samples, and the nearest neighbour of each.

    - `percent`: of samples that are authentic (AuthPct).
    - `authentic`: one entry a sample.
    - `nearest`: index of the nearest training datum of each sample.
    - `distances`: from each sample to it.
    """

    percent: float
    authentic: Bool[np.ndarray, " num_samples"]
    nearest: Int[np.ndarray, " num_samples"]
    distances: Float[np.ndarray, " num_samples"]


def authenticity(
    samples: Shaped[AnyArray, "num_samples ..."],
    training: Shaped[AnyArray, "num_training ..."],
    *,
    chunk: int = 2048,
) -> Authenticity:
    r"""AuthPct of Alaa et al. (2022): is a sample nearer to a datum than its fellows?

    Let $x$ be the training datum nearest to a sample. The sample is authentic if $x$
    has a fellow training datum that is nearer to it than the sample is. A copy with
    little noise is not authentic.

    Fresh draws of the true distribution are not all authentic: a sample fails exactly
    if it and $x$ are the nearest neighbours of each other, which has the probability
    2/3 in one dimension, 0.6215 in two, 0.5926 in three, and 1/2 in the limit of many.
    So AuthPct is 33 to 50 for a perfect model, and 0 for one that copies. Compute it
    for held-out data too.

    **Arguments:**

    - `samples`: features or images, of any one shape.
    - `training`: at least 2 of the training data, as the same features.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    An `Authenticity`.

    **Raises:** `ValueError` for empty sets, entries that are not finite, arrays of
    different sizes, or a single training datum.

    ```python
    ss.metrics.authenticity(samples, train_images).percent
    ```
    """
    samples, training = flatten("samples", samples), flatten("training", training)
    check_comparable("samples", samples, "training", training)
    check_positive_int("chunk", chunk)
    if len(training) < 2:
        raise ValueError(
            "`training` has 1 row, but a datum needs a fellow to compare with: at"
            " least 2 are needed."
        )
    nearest, distances = nearest_neighbours(samples, training, chunk=chunk)
    nearest, distances = nearest[:, 0], distances[:, 0]
    # Only the data that are somebody's nearest are searched again.
    wanted, back = np.unique(nearest, return_inverse=True)
    _, fellows = nearest_neighbours(training[wanted], training, k=2, chunk=chunk)
    authentic = distances > fellows[back, 1]
    return Authenticity(100 * float(authentic.mean()), authentic, nearest, distances)


class CopyTest(NamedTuple):
    """Are samples nearer to the training data than held-out data are?

    - `z`: of the Mann-Whitney statistic. Below about -3 the model copies; above about
        3 the samples are farther away than real data, which is underfitting.
    - `p_value`: one-sided, small if samples are nearer.
    - `probability`: that a sample is farther away than a held-out datum; 1/2 is fair.
    """

    z: float
    p_value: float
    probability: float


def copy_test(
    samples: Shaped[AnyArray, "num_samples ..."],
    held_out: Shaped[AnyArray, "num_held_out ..."],
    training: Shaped[AnyArray, "num_training ..."],
    *,
    chunk: int = 2048,
) -> CopyTest:
    r"""The data-copying test of Meehan, Chaudhuri and Dasgupta (2020), with one cell.

    The distance of each sample to its nearest training datum is compared with that of
    each held-out datum, by the rank-sum test of Mann and Whitney: $U$ counts the pairs
    in which the sample is farther away, ties as one half, and

    $$z = \frac{U - nm/2}{\sqrt{nm (n + m + 1 - T) / 12}}, \qquad
    T = \frac{\sum_g (t_g^3 - t_g)}{(n + m)(n + m - 1)}$$

    with $t_g$ the sizes of groups of ties.

    **Arguments:**

    - `samples`: features or images, of any one shape.
    - `held_out`: data of the same distribution that no training saw.
    - `training`: the training data.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    A `CopyTest`.

    **Raises:** those of [`softsde.metrics.nearest_neighbours`][].

    ```python
    ss.metrics.copy_test(samples, test_images, train_images).p_value
    ```
    """
    from scipy.special import ndtr
    from scipy.stats import rankdata

    _, near = nearest_neighbours(samples, training, chunk=chunk)
    _, fair = nearest_neighbours(held_out, training, chunk=chunk)
    n, m = len(near), len(fair)
    values = np.concatenate([near[:, 0], fair[:, 0]])
    u = rankdata(values)[:n].sum() - n * (n + 1) / 2
    _, ties = np.unique(values, return_counts=True)
    ties = ties.astype(np.float64)
    corrected = n + m + 1 - np.sum(ties**3 - ties) / ((n + m) * (n + m - 1))
    spread = np.sqrt(n * m * corrected / 12)
    # All distances are equal: nothing is nearer than anything else.
    z = float((u - n * m / 2) / spread) if spread > 0 else 0.0
    return CopyTest(z, float(ndtr(z)), float(u / (n * m)))

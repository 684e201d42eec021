"""The Frechet distance: Wasserstein-2 between Gaussians fitted to two feature sets."""

import itertools
import warnings
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Shaped

from ._arrays import AnyArray, as_features, check_comparable, check_finite
from ._estimate import Estimate
from ._moments import FeatureMoments


def frechet_distance(
    features_a: Shaped[AnyArray, "num_a dim_a"],
    features_b: Shaped[AnyArray, "num_b dim_b"],
) -> float:
    r"""The Frechet distance between two sets of features, computed in float64.

    $$d^2 = \|\mu_a - \mu_b\|^2 + \operatorname{tr} \Sigma_a +
    \operatorname{tr} \Sigma_b - 2 \operatorname{tr} (\Sigma_a \Sigma_b)^{1/2}$$

    It is the *squared* Wasserstein-2 distance of the fitted Gaussians, as is custom.
    Its value means something in one feature space only, so never quote it without
    naming the space; [`softsde.metrics.measure_frechet`][] does so. With the pool
    features of the Inception network, and with no others, it is the FID of Heusel et
    al. (2017).

    The estimate is biased upwards: two samples of the *same* distribution are at a
    positive distance of order `1 / num`. `frechet_bias` says how large. Compare models
    at equal sample sizes only.

    **Arguments:**

    - `features_a`, `features_b`: one row a sample. With no more rows than features the
        covariances are rank-deficient: a warning says how large the bias is.

    **Returns:**

    A non-negative float.

    **Raises:** `ValueError` for fewer than two rows, entries that are not finite, or
    rows of different lengths. Warns (`UserWarning`) of no more rows than features.

    ```python
    ss.metrics.frechet_distance(features, reference)
    ```
    """
    features_a = as_features("features_a", features_a, at_least=2)
    features_b = as_features("features_b", features_b, at_least=2)
    check_comparable("features_a", features_a, "features_b", features_b)
    a = FeatureMoments.of(features_a)
    b = FeatureMoments.of(features_b)
    larger = a if a.count > b.count else b
    warn_of_few("features_a", a.count, len(a.mean), larger, b.count)
    warn_of_few("features_b", b.count, len(b.mean), larger, a.count)
    return frechet_distance_from_moments(a.mean, a.covariance, b.mean, b.covariance)


def frechet_distance_from_moments(
    mean_a: Shaped[AnyArray, "..."],
    cov_a: Shaped[AnyArray, "..."],
    mean_b: Shaped[AnyArray, "..."],
    cov_b: Shaped[AnyArray, "..."],
) -> float:
    """The Frechet distance between two Gaussians; see `frechet_distance`.

    **Arguments:**

    - `mean_a`, `mean_b`: of shape `(dim,)`.
    - `cov_a`, `cov_b`: symmetric positive semi-definite, of shape `(dim, dim)`.

    **Returns:**

    A non-negative float.

    **Raises:** `ValueError` if the shapes do not fit, an entry is not finite, or a
    covariance is not symmetric positive semi-definite.
    """
    mean_a, mean_b = _mean("mean_a", mean_a), _mean("mean_b", mean_b)
    root_a = _root("cov_a", cov_a, mean_a)
    root_b = _root("cov_b", cov_b, mean_b)
    if mean_a.shape != mean_b.shape:
        raise ValueError(
            f"`mean_a` has {len(mean_a)} features and `mean_b` has {len(mean_b)}: they"
            " must come from one feature space."
        )
    return _distance(mean_a, root_a, mean_b, root_b)


def frechet_bias(
    covariance: Float[AnyArray, "dim dim"], num_a: int, num_b: int
) -> float:
    r"""The size of the Frechet distance between two samples of one distribution.

    $$\Big(\frac{1}{n_a} + \frac{1}{n_b}\Big) \Big( \sum_i \lambda_i + \frac12 \sum_{ij}
    (1 + \delta_{ij}) \frac{\lambda_i \lambda_j}{\lambda_i + \lambda_j} \Big)$$

    for Gaussian features with covariance eigenvalues $\lambda$: the variance of the
    two means, and the second-order term of the Bures distance averaged over Wishart
    noise. It is the leading order in `1 / num`, good when both sizes are many times the
    number of features. A distance close to it says "no difference seen".

    **Arguments:**

    - `covariance`: of the features, in general those of the larger set.
    - `num_a`, `num_b`: the sizes of the two samples.

    **Returns:**

    The expected value of `frechet_distance` if both samples had the same distribution.
    """
    for name, num in (("num_a", num_a), ("num_b", num_b)):
        if num < 2:
            raise ValueError(f"`{name}` is {num}, but a covariance needs at least 2.")
    eigenvalues = _eigh("covariance", np.asarray(covariance, np.float64))[0]
    eigenvalues = eigenvalues[eigenvalues > 0]
    rows, columns = eigenvalues[:, None], eigenvalues[None, :]
    harmonic = rows * columns / (rows + columns)
    spread = harmonic.sum() + np.trace(harmonic)
    return float((1 / num_a + 1 / num_b) * (eigenvalues.sum() + spread / 2))


def frechet_limit(
    a: Sequence[FeatureMoments], b: FeatureMoments | Sequence[FeatureMoments]
) -> Estimate:
    r"""The Frechet distance in the limit of many samples, with an error bar.

    The distance of finite samples is biased upwards by about $c / n$. It is computed
    once more without each of $B$ disjoint blocks, which are samples of the size
    $n (1 - 1/B)$, and extrapolated linearly in $1 / n$ to zero, as in the
    $\mathrm{FID}_\infty$ of Chong and Forsyth (2020). With two sizes this is the
    jackknife:

    $$d^2_\infty = B d^2 - (B - 1)\, \overline{d^2_{-i}}, \qquad
    \mathrm{SE}^2 = \frac{B - 1}{B} \sum_i (d^2_{-i} - \overline{d^2_{-i}})^2.$$

    What is left of the bias is of order $1 / n^2$: it is small once there are ten times
    as many samples as features. The estimate of a distance near zero may be negative.

    **Arguments:**

    - `a`: moments of disjoint random blocks of about equal size, at least 3.
    - `b`: blocks as well, if the reference is a sample like `a`. Moments, if the
        reference is taken as it is: the distance to this very set, as in the
        literature, or to a distribution that is known.

    **Returns:**

    The [`softsde.metrics.Estimate`][], with as many degrees of freedom as there are
    blocks of `a`, less one.

    **Raises:** `ValueError` for fewer than 3 blocks, or blocks that are so few that a
    rest has less than two rows.

    ```python
    blocks = [ss.metrics.FeatureMoments.of(part) for part in np.split(features, 8)]
    b = ss.metrics.FeatureMoments.of(reference)
    ss.metrics.frechet_limit(blocks, b).interval
    ```
    """
    value, correction_a, variance_a = _jackknife(a, b)
    if isinstance(b, FeatureMoments):
        return Estimate(value - correction_a, variance_a**0.5, len(a) - 1)
    _, correction_b, variance_b = _jackknife(b, FeatureMoments.total(a))
    variance = variance_a + variance_b
    # Welch and Satterthwaite: the degrees of freedom of a sum of two variances.
    pieces = variance_a**2 / (len(a) - 1) + variance_b**2 / (len(b) - 1)
    degrees = variance**2 / pieces if pieces > 0 else float(len(a) - 1)
    return Estimate(value - correction_a - correction_b, variance**0.5, degrees)


def frechet_error(a: Sequence[FeatureMoments], b: FeatureMoments) -> Estimate:
    """The Frechet distance of all of `a` to `b`, bias included, with an error bar.

    **Arguments:** those of [`softsde.metrics.frechet_limit`][].

    **Returns:**

    The [`softsde.metrics.Estimate`][] of the expected distance of so many samples.
    """
    value, _, variance = _jackknife(a, b)
    return Estimate(value, variance**0.5, len(a) - 1)


def _jackknife(
    a: Sequence[FeatureMoments], b: FeatureMoments | Sequence[FeatureMoments]
) -> tuple[float, float, float]:
    """The distance, the bias that the samples in `a` give it, and their variance."""
    if len(a) < 3:
        raise ValueError(
            f"`a` has {len(a)} blocks, but an error bar needs at least 3. Ten are a"
            " good choice."
        )
    whole = b if isinstance(b, FeatureMoments) else FeatureMoments.total(b)
    root_b = _root("b", whole.covariance, whole.mean)
    distance = lambda m: _distance(
        m.mean, _root("a", m.covariance, m.mean), whole.mean, root_b
    )
    # Sums from both ends, as a difference of sums would lose digits.
    before = list(itertools.accumulate(a))
    after = list(itertools.accumulate(reversed(a)))[::-1]
    rests = [after[1], *(x + y for x, y in zip(before, after[2:], strict=False))]
    rests.append(before[-2])
    without = np.array([distance(rest) for rest in rests])
    value, num = distance(before[-1]), len(a)
    bias = (num - 1) * (without.mean() - value)
    variance = (num - 1) / num * np.sum((without - without.mean()) ** 2)
    return value, float(bias), float(variance)


def _distance(
    mean_a: Float[np.ndarray, " dim"],
    root_a: Float[np.ndarray, "rank_a dim"],
    mean_b: Float[np.ndarray, " dim"],
    root_b: Float[np.ndarray, "rank_b dim"],
) -> float:
    # With Sigma = R^T R, tr (Sigma_a Sigma_b)^{1/2} is the nuclear norm of R_a R_b^T.
    # Singular values are found to rounding error; so would be the eigenvalues of the
    # product, but half of those digits are lost when their square root is taken.
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    shift = np.sum((mean_a - mean_b) ** 2)
    squared = shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * cross
    return max(float(squared), 0.0)


def warn_of_few(
    name: str, num: int, dim: int, reference: FeatureMoments, other: int
) -> None:
    """Warns of a singular covariance, and says how large the bias is."""
    if num > dim:
        return
    bias = frechet_bias(reference.covariance, num, other)
    warnings.warn(
        f"`{name}` has {num:,} rows of {dim:,} features: the covariance is singular,"
        " and the Frechet distance is biased upwards. Two samples of one distribution"
        f" would be at a distance of about {bias:.3g}. Draw more samples than features,"
        " better ten times as many; or use `kernel_distance`, which has no bias.",
        stacklevel=3,
    )


def _mean(name: str, mean: Shaped[AnyArray, "..."]) -> Float[np.ndarray, " dim"]:
    mean = np.asarray(mean, np.float64)
    if mean.ndim != 1:
        raise ValueError(f"`{name}` has shape {mean.shape}, but must be `(dim,)`.")
    check_finite(name, mean)
    return mean


def _root(
    name: str, cov: Shaped[AnyArray, "..."], mean: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "rank dim"]:
    """`R` with `cov = R^T R`, one row for each eigenvalue that is not zero."""
    cov = np.asarray(cov, np.float64)
    if cov.shape != (len(mean), len(mean)):
        raise ValueError(
            f"`{name}` has shape {cov.shape}, but the mean has {len(mean)} entries, so"
            f" {(len(mean), len(mean))} was expected."
        )
    eigenvalues, vectors = _eigh(name, cov)
    keep = eigenvalues > 0
    return np.sqrt(eigenvalues[keep])[:, None] * vectors[:, keep].T


def _eigh(
    name: str, cov: Float[np.ndarray, "dim dim"]
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, "dim dim"]]:
    """Eigen-decomposition with eigenvalues below rounding error set to zero."""
    check_finite(name, cov)
    scale = np.abs(cov).max(initial=0.0)
    # Float32 covariances are welcome, so the symmetry asked for is theirs.
    if np.abs(cov - cov.T).max(initial=0.0) > 1e-5 * scale:
        raise ValueError(
            f"`{name}` is not symmetric, so it is no covariance. Pass the matrix"
            " itself, not a factor of it."
        )
    eigenvalues, vectors = np.linalg.eigh((cov + cov.T) / 2)
    largest = np.abs(eigenvalues).max(initial=0.0)
    if eigenvalues.min(initial=0.0) < -1e-5 * largest:
        raise ValueError(
            f"`{name}` has the negative eigenvalue {eigenvalues.min():.3g}, so it is no"
            " covariance."
        )
    # An eigenvalue of zero is computed as +-1e-16 of the largest one, and its square
    # root, 1e-8, would be counted once for every missing rank.
    floor = len(cov) * np.finfo(np.float64).eps * largest
    return np.where(eigenvalues > floor, eigenvalues, 0.0), vectors

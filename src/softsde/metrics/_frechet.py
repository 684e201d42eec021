"""The Frechet distance: Wasserstein-2 between Gaussians fitted to two feature sets."""

import dataclasses

import numpy as np
from jaxtyping import Float, Shaped

from ._arrays import AnyArray, as_features, check_comparable, check_finite
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
    naming the space; `frechet_report` does so. With the pool features of the Inception
    network, and with no others, it is the FID of Heusel et al. (2017).

    The estimate is biased upwards: two samples of the *same* distribution are at a
    positive distance of order `1 / num`. `frechet_bias` says how large. Compare models
    at equal sample sizes only.

    **Arguments:**

    - `features_a`, `features_b`: one row a sample. With no more rows than features the
        covariances are rank-deficient, which is allowed but makes the bias large.

    **Returns:**

    A non-negative float.

    **Raises:** `ValueError` for fewer than two rows, entries that are not finite, or
    rows of different lengths.

    ```python
    features = ss.metrics.extract_features(classifier.features, samples)
    reference = ss.metrics.extract_features(classifier.features, test_images)
    ss.metrics.frechet_distance(features, reference)
    ```
    """
    features_a = as_features("features_a", features_a, at_least=2)
    features_b = as_features("features_b", features_b, at_least=2)
    check_comparable("features_a", features_a, "features_b", features_b)
    a = FeatureMoments.of(features_a)
    b = FeatureMoments.of(features_b)
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
    # With Sigma = R^T R, tr (Sigma_a Sigma_b)^{1/2} is the nuclear norm of R_a R_b^T.
    # Singular values are found to rounding error; so would be the eigenvalues of the
    # product, but half of those digits are lost when their square root is taken.
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    shift = np.sum((mean_a - mean_b) ** 2)
    squared = shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * cross
    return max(float(squared), 0.0)


def frechet_bias(
    covariance: Float[AnyArray, "dim dim"], num_a: int, num_b: int
) -> float:
    r"""How large the Frechet distance is between two samples of one distribution.

    $$\Big(\frac{1}{n_a} + \frac{1}{n_b}\Big) \Big( \sum_i \lambda_i + \frac12 \sum_{ij}
    (1 + \delta_{ij}) \frac{\lambda_i \lambda_j}{\lambda_i + \lambda_j} \Big)$$

    for Gaussian features with covariance eigenvalues $\lambda$: the variance of the
    two means, and the second-order term of the Bures distance averaged over Wishart
    noise. It is the leading order in `1 / num`, good when both sizes are many times the
    number of features. A figure close to it says "no difference seen".

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


@dataclasses.dataclass(frozen=True)
class FrechetReport:
    """A Frechet distance with all that must be said for it to mean anything."""

    distance: float
    bias: float
    space: str
    dim: int
    num_a: int
    num_b: int

    def __str__(self) -> str:
        # The name FID belongs to one feature space.
        name = "FID" if "inception" in self.space.lower() else "Frechet distance"
        return (
            f"{name} {self.distance:.4g} in the space of {self.space} ({self.dim}"
            f" features; {self.num_a:,} against {self.num_b:,} samples; equal"
            f" distributions would give about {self.bias:.2g})"
        )


def frechet_report(
    a: FeatureMoments, b: FeatureMoments, *, space: str
) -> FrechetReport:
    """The Frechet distance together with its feature space, sizes and bias.

    **Arguments:**

    - `a`: moments of the samples' features.
    - `b`: moments of the reference's features; the bias is computed for these.
    - `space`: what the features are, such as `"the Fashion-MNIST classifier"`.

    **Returns:**

    A `FrechetReport`; `str(...)` is a sentence ready to be quoted.

    ```python
    a = ss.metrics.FeatureMoments.of(features)
    b = ss.metrics.FeatureMoments.of(reference)
    print(ss.metrics.frechet_report(a, b, space="the Fashion-MNIST classifier"))
    ```
    """
    if not space.strip():
        raise ValueError(
            "`space` is empty: say which features these are, for instance"
            " 'the Fashion-MNIST classifier'."
        )
    check_comparable("a", a.scatter, "b", b.scatter)
    return FrechetReport(
        distance=frechet_distance_from_moments(
            a.mean, a.covariance, b.mean, b.covariance
        ),
        bias=frechet_bias(b.covariance, a.count, b.count),
        space=space,
        dim=len(b.mean),
        num_a=a.count,
        num_b=b.count,
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

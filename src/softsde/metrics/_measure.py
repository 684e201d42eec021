"""Metrics of statistics, each with all that identifies it."""

from ._density_coverage import density_coverage
from ._frechet import (
    frechet_distance_from_moments,
    frechet_error,
    frechet_limit,
    warn_of_few,
)
from ._kernel_distance import kernel_distance
from ._kernels import AbstractKernel, PolynomialKernel
from ._measurement import Measurement
from ._precision_recall import precision_recall
from ._statistics import FeatureStatistics


def measure_frechet(
    samples: FeatureStatistics,
    reference: FeatureStatistics,
    *,
    extrapolate: bool = False,
    seed: int | None = None,
) -> Measurement:
    """The Frechet distance of all samples to the reference, with a 95 % interval.

    It is called FID if the features are FID's own, and only then. The reference is
    taken as it is, as in the literature: the interval is that of the samples.

    **Arguments:**

    - `samples`, `reference`: statistics in the same features.
    - `extrapolate`: whether to extrapolate to infinitely many samples:
        [`softsde.metrics.frechet_limit`][]. Without, the bias depends on the number of
        samples, and only equal numbers compare.
    - `seed`: seed of the samples.

    **Returns:** the [`softsde.metrics.Measurement`][].

    **Raises:** `ValueError` if the features differ.

    ```python
    features = ss.metrics.FunctionFeatures(
        lambda x: x[:2, 0, 0], name="two pixels", hash="two pixels"
    )
    a = ss.metrics.FeatureStatistics.of(features, images[:8], blocks=3)
    b = ss.metrics.FeatureStatistics.of(features, images[8:], blocks=3)
    ss.metrics.measure_frechet(a, b).value
    ```
    """
    check_one_space(samples, reference)
    ours, theirs = samples.moments, reference.moments
    warn_of_few("samples", ours.count, samples.space.dim, theirs, theirs.count)
    warn_of_few("reference", theirs.count, samples.space.dim, theirs, ours.count)
    interval = None
    if extrapolate:
        estimate = frechet_limit(samples.blocks, theirs)
        value, interval = estimate.value, estimate.interval
    elif len(samples.blocks) >= 3:
        estimate = frechet_error(samples.blocks, theirs)
        value, interval = estimate.value, estimate.interval
    else:
        value = frechet_distance_from_moments(
            ours.mean, ours.covariance, theirs.mean, theirs.covariance
        )
    return _measurement(
        "Frechet distance",
        value,
        samples,
        reference,
        interval=interval,
        settings="extrapolated to infinitely many samples" if extrapolate else "",
        unbiased=extrapolate,
        seed=seed,
    )


def measure_kernel(
    samples: FeatureStatistics,
    reference: FeatureStatistics,
    *,
    kernel: AbstractKernel | None = None,
    seed: int | None = None,
) -> Measurement:
    """The kernel distance of the kept features, with a 95 % interval.

    With the cubic kernel and FID's own features, and only then, it is called KID.

    **Arguments:**

    - `samples`, `reference`: statistics in the same features.
    - `kernel`: [`softsde.metrics.PolynomialKernel`][] by default.
    - `seed`: seed of the samples.

    **Returns:** the [`softsde.metrics.Measurement`][].

    **Raises:** `ValueError` if the features differ.
    """
    check_one_space(samples, reference)
    kernel = PolynomialKernel() if kernel is None else kernel
    estimate = kernel_distance(samples.kept, reference.kept, kernel=kernel)
    cubic = kernel == PolynomialKernel()
    return _measurement(
        "kernel distance" if cubic else f"kernel distance ({kernel.name})",
        estimate.value,
        samples,
        reference,
        interval=estimate.interval,
        unbiased=True,
        num_samples=len(samples.kept),
        seed=seed,
    )


def measure_manifold(
    samples: FeatureStatistics,
    reference: FeatureStatistics,
    *,
    seed: int | None = None,
) -> dict[str, Measurement]:
    """Precision, recall, density and coverage of equally many kept features.

    **Arguments:**

    - `samples`, `reference`: statistics in the same features.
    - `seed`: seed of the samples.

    **Returns:** four [`softsde.metrics.Measurement`][]s by their names. All four depend
    on the number of samples.

    **Raises:** `ValueError` if the features differ.
    """
    check_one_space(samples, reference)
    # The kept features are in random order.
    num = min(len(samples.kept), len(reference.kept))
    ours, theirs = samples.kept[:num], reference.kept[:num]
    precision, recall = precision_recall(ours, theirs)
    density, coverage = density_coverage(ours, theirs)
    values = {
        "precision": (precision, "k = 3"),
        "recall": (recall, "k = 3"),
        "density": (density, "k = 5"),
        "coverage": (coverage, "k = 5"),
    }
    return {
        name: _measurement(
            name,
            value,
            samples,
            reference,
            settings=settings,
            num_samples=num,
            num_reference=num,
            seed=seed,
        )
        for name, (value, settings) in values.items()
    }


def check_one_space(samples: FeatureStatistics, reference: FeatureStatistics) -> None:
    if samples.space != reference.space:
        raise ValueError(
            f"the samples are described by {samples.space}, the reference by"
            f" {reference.space}. Compute both with the same features."
        )


def _measurement(
    metric: str,
    value: float,
    samples: FeatureStatistics,
    reference: FeatureStatistics,
    *,
    interval: tuple[float, float] | None = None,
    settings: str = "",
    unbiased: bool = False,
    num_samples: int | None = None,
    num_reference: int | None = None,
    seed: int | None = None,
) -> Measurement:
    return Measurement(
        metric=metric,
        value=value,
        interval=interval,
        settings=settings,
        unbiased=unbiased,
        space=samples.space,
        num_samples=samples.count if num_samples is None else num_samples,
        num_reference=reference.count if num_reference is None else num_reference,
        reference=reference.key,
        seed=seed,
    )

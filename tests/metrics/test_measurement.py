import dataclasses
import json

import numpy as np
import pytest

from softsde.metrics import (
    FeatureStatistics,
    FunctionFeatures,
    GaussianKernel,
    Measurement,
    PixelFeatures,
    frechet_distance,
    kernel_distance,
    measure_frechet,
    measure_kernel,
    measure_manifold,
    precision_recall,
)

ANY = PixelFeatures((-np.inf, np.inf))


def statistics(num, shift=0.0, seed=0, space=ANY, **options):
    images = np.random.default_rng(seed).normal(size=(num, 4)).astype(np.float32)
    images += np.float32(shift)
    return FeatureStatistics.of(space, images, **options), images


def test_values_are_those_of_the_metrics():
    (a, x), (b, y) = statistics(300, 0.5), statistics(400, seed=1)
    assert measure_frechet(a, b).value == pytest.approx(
        frechet_distance(x, y), rel=1e-9
    )
    expected = kernel_distance(x, y)
    found = measure_kernel(a, b)
    assert found.value == pytest.approx(expected.value, rel=1e-9)
    assert found.interval == pytest.approx(expected.interval, rel=1e-6)
    # Precision and recall of equally many: all samples, and a part of the data.
    manifold = measure_manifold(a, b)
    assert manifold["precision"].num_reference == 300
    expected = precision_recall(a.kept, b.kept[:300])
    assert manifold["precision"].value == expected.precision
    assert manifold["recall"].value == expected.recall


def test_prints_all_that_it_means():
    (a, _), (b, _) = statistics(300, 0.5), statistics(400, seed=1)
    text = str(measure_frechet(a, b, seed=7))
    for part in (
        "Frechet distance",
        "95 %",
        "4 features of pixels",
        ANY.hash[:8],
        "resize: none",
        "[-inf, inf]",
        "300 samples, seed 7",
        "400 of reference",
        b.key[:8],
    ):
        assert part in text
    extrapolated = str(measure_frechet(a, b, extrapolate=True))
    assert "extrapolated to infinitely many samples" in extrapolated


def test_published_names_belong_to_published_features():
    (a, _), (b, _) = statistics(300, 0.5), statistics(400, seed=1)
    assert "FID" not in str(measure_frechet(a, b))
    # A name that sounds right is not enough.
    fake = FunctionFeatures(
        lambda x: x, name="Inception FID", value_range=(-np.inf, np.inf), hash="x"
    )
    measured = measure_frechet(
        statistics(300, space=fake)[0], statistics(400, space=fake)[0]
    )
    assert measured.name == "Frechet distance"
    real = dataclasses.replace(a.space, published=("FID", "KID", "IS"))
    a, b = (dataclasses.replace(s, space=real) for s in (a, b))
    assert str(measure_frechet(a, b)).startswith("FID: ")
    assert str(measure_kernel(a, b)).startswith("KID: ")
    assert measure_kernel(a, b, kernel=GaussianKernel(1.0)).name.startswith("kernel")
    assert measure_manifold(a, b)["recall"].name == "recall"


def test_compares_with_its_like_only():
    reference, _ = statistics(400, seed=1)
    near, far = (statistics(300, shift, seed=2)[0] for shift in (0.1, 1.0))
    better = measure_frechet(near, reference, seed=0)
    worse = measure_frechet(far, reference, seed=1)
    assert better < worse and worse > better and better <= worse and worse >= better
    assert worse - better == pytest.approx(worse.value - better.value)
    unlike = {
        "metric": measure_manifold(near, reference)["recall"],
        "settings": measure_frechet(near, reference, extrapolate=True),
        "num_samples": measure_frechet(statistics(200)[0], reference),
        "reference": measure_frechet(near, statistics(400, seed=5)[0]),
        "space": dataclasses.replace(
            better, space=dataclasses.replace(better.space, resize="bilinear to 299")
        ),
    }
    for what, other in unlike.items():
        with pytest.raises(ValueError, match=rf"do not compare: .*{what}: "):
            _ = better < other
    # What has no bias compares at any number of samples.
    few = measure_kernel(statistics(100, 1.0, seed=3)[0], reference)
    assert measure_kernel(near, reference) < few


def test_unknown_weights_compare_with_nothing():
    space = FunctionFeatures(lambda x: x, name="x", value_range=(-np.inf, np.inf))
    a, b = (statistics(300, seed=s, space=space)[0] for s in (0, 1))
    measured = measure_frechet(a, b)
    with pytest.raises(ValueError, match=r"weights of the features 'x' are unknown"):
        _ = measured < measured


def test_samples_and_reference_share_their_features():
    a, _ = statistics(300)
    b, _ = statistics(300, space=PixelFeatures((-100.0, 100.0)))
    for measure in (measure_frechet, measure_kernel, measure_manifold):
        with pytest.raises(ValueError, match="with the same features"):
            measure(a, b)


def test_few_samples_are_warned_of():
    (a, _), (b, _) = statistics(4, blocks=1), statistics(300)
    with pytest.warns(UserWarning, match=r"`samples` has 4 rows of 4 features.*biased"):
        measure_frechet(a, b)


def test_json_and_back():
    (a, _), (b, _) = statistics(300, 0.5), statistics(400, seed=1)
    for measured in (measure_frechet(a, b, seed=3), measure_manifold(a, b)["recall"]):
        content = json.loads(json.dumps(measured.as_json()))
        assert content["name"] == measured.name
        assert Measurement.from_json(content) == measured

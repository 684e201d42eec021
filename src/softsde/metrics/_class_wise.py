"""A metric for each class by itself."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Int, Shaped

from ._arrays import AnyArray, check_positive_int

T = TypeVar("T")


def class_wise(
    metric: Callable[[Any, Any], T],
    samples: Shaped[AnyArray, "num_samples ..."],
    sample_labels: Int[AnyArray, " sample_labels"],
    data: Shaped[AnyArray, "num_data ..."],
    data_labels: Int[AnyArray, " data_labels"],
    *,
    num_classes: int,
    at_least: int = 2,
) -> dict[int, T | None]:
    """`metric(samples, data)` of each class, among samples and data of that class.

    A distance of all classes together hides a class that is small or that is drawn
    badly. Distances of classes with different numbers of samples have different
    biases: use [`softsde.metrics.kernel_distance`][], which has none, or draw equally
    many of each class.

    **Arguments:**

    - `metric`: a function of two arrays, such as
        [`softsde.metrics.frechet_distance`][].
    - `samples`, `data`: features or images.
    - `sample_labels`, `data_labels`: the class of each, in `0 ... num_classes - 1`: the
        class that was asked for, or that a classifier sees. Others, such as -1, are
        left out.
    - `num_classes`: number of classes.
    - `at_least`: number of samples and of data that a class must have.

    **Returns:**

    From the class to its metric; `None` if it has too few samples or data.

    **Raises:** `ValueError` if there are not as many labels as rows.

    ```python
    labels = np.argmax(ss.metrics.extract_features(classifier, samples), axis=1)
    test_labels = np.argmax(ss.metrics.extract_features(classifier, test_images), 1)
    ss.metrics.class_wise(
        ss.metrics.frechet_distance,
        samples.reshape(len(samples), -1), labels,
        test_images.reshape(len(test_images), -1), test_labels,
        num_classes=10, at_least=1000,
    )
    ```
    """
    check_positive_int("num_classes", num_classes)
    check_positive_int("at_least", at_least)
    sample_labels, data_labels = np.asarray(sample_labels), np.asarray(data_labels)
    for name, rows, labels in (
        ("sample", samples, sample_labels),
        ("data", data, data_labels),
    ):
        if labels.shape != (len(rows),):
            raise ValueError(
                f"`{name}_labels` has shape {labels.shape}, but there are {len(rows)}"
                " rows: one label is needed for each."
            )
    result: dict[int, T | None] = {}
    for label in range(num_classes):
        ours = np.flatnonzero(sample_labels == label)
        theirs = np.flatnonzero(data_labels == label)
        enough = min(len(ours), len(theirs)) >= at_least
        result[label] = metric(samples[ours], data[theirs]) if enough else None
    return result

import numpy as np
import pytest

from softsde.metrics import class_wise, frechet_distance


def test_each_class_by_itself():
    # Of class c, samples are {c, c + 2} and data {0, 2}: equal variances, means apart
    # by c, hence c^2. Class 3 has a single sample, and class 4 none.
    samples = np.array([[c + s] for c in (2.0, 0.0, 1.0) for s in (0, 2)] + [[9.0]])
    labels = np.array([2, 2, 0, 0, 1, 1, 3])
    data = np.array([[0.0], [2.0]] * 4 + [[7.0]])
    data_labels = np.array([0, 0, 1, 1, 2, 2, 3, 3, -1])
    result = class_wise(
        frechet_distance, samples, labels, data, data_labels, num_classes=5
    )
    assert result[3] is None and result[4] is None
    assert [result[c] for c in range(3)] == pytest.approx([0, 1, 4])


def test_at_least_and_refusals():
    x, labels = np.arange(6.0)[:, None], np.array([0, 0, 0, 0, 1, 1])
    counts = class_wise(
        lambda a, b: (len(a), len(b)), x, labels, x, labels, num_classes=2, at_least=3
    )
    assert counts == {0: (4, 4), 1: None}
    with pytest.raises(ValueError, match=r"`data_labels` has shape \(5,\).*6 rows"):
        class_wise(frechet_distance, x, labels, x, labels[:5], num_classes=2)

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from softsde.metrics import class_proportions


def test_counts_entropy_and_total_variation():
    result = class_proportions(np.array([0, 0, 1, 3]), num_classes=4)
    np.testing.assert_array_equal(result.counts, [2, 1, 0, 1])
    np.testing.assert_array_equal(result.proportions, [0.5, 0.25, 0, 0.25])
    assert result.entropy == pytest.approx(1.5 * np.log(2))
    # One sample in four would have to change class.
    assert result.total_variation == pytest.approx(0.25)


def test_extremes():
    collapsed = class_proportions(np.zeros(50, int), num_classes=10)
    assert collapsed.entropy == 0
    assert collapsed.total_variation == pytest.approx(0.9)
    even = class_proportions(np.arange(50) % 10, num_classes=10)
    assert np.exp(even.entropy) == pytest.approx(10)
    assert even.total_variation == pytest.approx(0, abs=1e-15)


def test_reference():
    labels = np.array([0, 0, 0, 1])
    same = class_proportions(labels, num_classes=2, reference=np.array([0.75, 0.25]))
    assert same.total_variation == 0
    far = class_proportions(labels, num_classes=2, reference=np.array([0.0, 1.0]))
    assert far.total_variation == 0.75


def test_logits():
    logits = jnp.array([[0.1, 2.0, -1.0], [5.0, 4.0, 3.0], [0.0, 1.0, 0.5]])
    result = class_proportions(logits)
    np.testing.assert_array_equal(result.counts, [1, 2, 0])
    by_labels = class_proportions(np.array([1, 0, 1]), num_classes=3)
    assert result.total_variation == by_labels.total_variation


def test_expected_total_variation():
    rng = np.random.default_rng(0)
    reference = np.array([0.5, 0.2, 0.2, 0.1])
    results = [
        class_proportions(
            rng.choice(4, size=500, p=reference), num_classes=4, reference=reference
        )
        for _ in range(400)
    ]
    shown = np.array([result.total_variation for result in results])
    # The normal approximation is good to about 1 / (num * proportion), 2% here.
    error = 4 * shown.std() / np.sqrt(len(shown)) + 0.02 * shown.mean()
    assert results[0].expected_total_variation == pytest.approx(shown.mean(), abs=error)


def test_refusals():
    labels = np.array([0, 1, 4])
    with pytest.raises(ValueError, match=r"range from 0 to 4, but `num_classes` is 4"):
        class_proportions(labels, num_classes=4)
    with pytest.raises(ValueError, match="`num_classes` is needed with labels"):
        class_proportions(labels)
    with pytest.raises(ValueError, match="`labels` is empty"):
        class_proportions(labels[:0], num_classes=4)
    with pytest.raises(TypeError, match=r"float64 and shape \(3,\).*logits"):
        class_proportions(labels.astype(float), num_classes=5)
    with pytest.raises(ValueError, match="`num_classes` is 3, but the logits have 2"):
        class_proportions(np.zeros((4, 2)), num_classes=3)
    with pytest.raises(ValueError, match=r"sum 15; expected 5 .*counts.sum\(\)"):
        class_proportions(labels, num_classes=5, reference=np.full(5, 3.0))
    with pytest.raises(ValueError, match=r"1 entries out of 4 .* not finite"):
        class_proportions(np.array([[0.0, np.nan], [1.0, 0.0]]))


def test_intervals_cover():
    # Averaged over sizes and proportions, since counts are discrete.
    rng = np.random.default_rng(1)
    covered = []
    for num in (60, 75, 100, 160, 230):
        truth = np.array([0.02, 0.1, 0.25, 0.63])
        for _ in range(300):
            labels = rng.choice(4, size=num, p=truth)
            result = class_proportions(labels, num_classes=4)
            covered.append((result.low <= truth) & (truth <= result.high))
    assert 0.93 < np.mean(covered) < 0.97


def test_interval_solves_its_equation():
    # The ends are where |p - q| is 1.96 standard deviations of q.
    result = class_proportions(np.repeat([0, 1, 2], [3, 0, 17]), num_classes=3)
    for ends in (result.low, result.high):
        for p, q in zip(result.proportions, ends, strict=True):
            assert abs(p - q) == pytest.approx(
                1.959963984540054 * np.sqrt(q * (1 - q) / 20), abs=1e-9
            )


def test_chi_squared_test():
    reference = np.array([0.2, 0.3, 0.5])
    labels = np.repeat([0, 1, 2], [15, 40, 45])
    result = class_proportions(labels, num_classes=3, reference=reference)
    expected = scipy.stats.chisquare([15, 40, 45], [20, 30, 50]).pvalue
    assert result.p_value == pytest.approx(expected, rel=1e-10)
    impossible = class_proportions(
        labels, num_classes=3, reference=np.array([0.5, 0.5, 0.0])
    )
    assert impossible.p_value == 0

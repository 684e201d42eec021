import numpy as np
import pytest

from softsde.metrics import inception_score


def test_sure_predictions_of_all_classes():
    # p(y | x) is one-hot and p(y) even: the entropy of the classes, log 5.
    logits = 200 * np.eye(5)[np.arange(100) % 5]
    value, error = inception_score(logits)
    assert value == pytest.approx(5, rel=1e-12)
    assert error == pytest.approx(0, abs=1e-12)


def test_one_class_or_no_idea():
    one = 200 * np.eye(5)[np.zeros(50, int)]
    assert inception_score(one, num_splits=5).value == pytest.approx(1)
    assert inception_score(np.zeros((50, 5))).value == pytest.approx(1)


def test_against_the_definition_and_offsets():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 4)) * 2
    scores = []
    for part in np.split(logits, 3):
        p = np.exp(part) / np.exp(part).sum(axis=1, keepdims=True)
        divergence = np.sum(p * np.log(p / p.mean(axis=0)), axis=1)
        scores.append(np.exp(divergence.mean()))
    estimate = inception_score(logits + 1000 * rng.normal(size=(60, 1)), num_splits=3)
    assert estimate.value == pytest.approx(np.mean(scores), rel=1e-10)
    assert estimate.standard_error == pytest.approx(np.std(scores, ddof=1) / 3**0.5)
    assert estimate.degrees == 2


def test_refusals():
    with pytest.raises(ValueError, match=r"`num_splits` is 10 for 12 rows"):
        inception_score(np.zeros((12, 3)))
    with pytest.raises(ValueError, match=r"1 entries out of 36 that are not finite"):
        inception_score(np.where(np.arange(36) == 3, np.nan, 0.0).reshape(12, 3))

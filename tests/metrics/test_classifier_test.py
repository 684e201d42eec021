import jax
import numpy as np
import pytest
import scipy.special

from softsde.metrics import classifier_test


def test_shifted_gaussians_reach_the_best_accuracy(key):
    # Of N(0, 1) and N(delta, 1) on one axis the best accuracy is Phi(delta / 2).
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 6000, 4))
    b[:, 1] += 1.5
    result = classifier_test(a, b, squares=False, key=key)
    best = scipy.special.ndtr(0.75)
    assert result.num_test == 6000
    # Five coefficients of 6000 rows cost less than 0.002.
    assert result.accuracy == pytest.approx(best, abs=4 * result.standard_error)
    assert result.p_value < 1e-100


def test_squares_see_variances(key):
    # |x| > c tells N(0, 1) from N(0, s^2): c^2 = 2 log(s) s^2 / (s^2 - 1).
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(4000, 1)), 2 * rng.normal(size=(4000, 1))
    c = np.sqrt(2 * np.log(2) * 4 / 3)
    inside = lambda s: 2 * scipy.special.ndtr(c / s) - 1
    best = (inside(1) + 1 - inside(2)) / 2
    result = classifier_test(a, b, key=key)
    assert result.accuracy == pytest.approx(best, abs=4 * result.standard_error + 0.01)
    blind = classifier_test(a, b, squares=False, key=key)
    assert blind.accuracy == pytest.approx(0.5, abs=4 * blind.standard_error)


def test_equal_distributions_are_rarely_told_apart():
    rng = np.random.default_rng(2)
    p_values = [
        classifier_test(*rng.normal(size=(2, 60, 3)), key=jax.random.key(i)).p_value
        for i in range(100)
    ]
    # A p-value below 5 % comes up in at most 5 %: 5, give or take 3 * 2.2; one below
    # 1/2 in nearly every other test, as the binomial distribution is discrete.
    assert np.count_nonzero(np.array(p_values) < 0.05) <= 12
    assert np.count_nonzero(np.array(p_values) < 0.5) >= 30


def test_binomial_p_value(key):
    # Constant features: every row is a toss of a coin.
    result = classifier_test(np.zeros((400, 2)), np.zeros((300, 2)), key=key)
    right = round(result.accuracy * 300)
    expected = sum(
        scipy.special.comb(300, r, exact=True) for r in range(right, 301)
    ) / (2**300)
    assert result.num_test == 300
    assert result.p_value == pytest.approx(expected, rel=1e-9)


def test_refusals(key):
    a = np.zeros((10, 3))
    with pytest.raises(ValueError, match="`features_b` has 3 rows, but at least 4"):
        classifier_test(a, a[:3], key=key)
    with pytest.raises(ValueError, match="`ridge` is 0"):
        classifier_test(a, a, ridge=0.0, key=key)

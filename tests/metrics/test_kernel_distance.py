import numpy as np
import pytest

from softsde.metrics import kernel_distance
from softsde.metrics._kernel_distance import _unbiased


def test_point_masses(key):
    # All pairs are alike, so every block gives k(a, a) + k(b, b) - 2 k(a, b).
    a, b = np.array([1.0, 2.0]), np.array([0.0, -1.0])
    k = lambda x, y: (x @ y / 2 + 1) ** 3
    value, error = kernel_distance(
        np.tile(a, (8, 1)), np.tile(b, (6, 1)), num_blocks=3, key=key
    )
    assert value == pytest.approx(k(a, a) + k(b, b) - 2 * k(a, b), rel=1e-13)
    assert error == pytest.approx(0, abs=1e-13)


def test_one_dimensional_gaussians(key):
    # (x y + 1)^3 = 1 + 3 x y + 3 x^2 y^2 + x^3 y^3, so the distance compares moments:
    # 3 (m_1 - m_1')^2 + 3 (m_2 - m_2')^2 + (m_3 - m_3')^2.
    moments = lambda m, s: np.array([m, m**2 + s**2, m**3 + 3 * m * s**2])
    (m, s), (n, t) = (0.5, 0.8), (-0.2, 1.1)
    expected = np.array([3, 3, 1]) @ (moments(m, s) - moments(n, t)) ** 2
    rng = np.random.default_rng(0)
    value, error = kernel_distance(
        m + s * rng.normal(size=(4000, 1)), n + t * rng.normal(size=(3000, 1)), key=key
    )
    # Ten blocks: Student's t with 9 degrees of freedom.
    assert abs(value - expected) < 4 * error
    assert error < 0.1 * expected


def test_unbiased_with_an_honest_error(key):
    # Small samples of one distribution: zero on average, where the Frechet distance
    # is biased, and the error bar covers what it should.
    rng = np.random.default_rng(1)
    draws = [
        kernel_distance(*rng.normal(size=(2, 20, 3)), num_blocks=5, key=key)
        for _ in range(150)
    ]
    values, errors = np.array(draws).T
    assert abs(values.mean()) < 3 * values.std() / np.sqrt(len(values))
    # The variance of a mean, estimated without bias: 150 draws leave about 13%.
    assert np.mean(errors**2) == pytest.approx(values.var(), rel=0.4)


def test_against_the_definition():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(7, 2)), rng.normal(size=(4, 2)) + 1
    k = lambda x, y: (x @ y / 2 + 1) ** 3
    expected = (
        np.mean([k(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
        + np.mean([k(b[i], b[j]) for i in range(4) for j in range(4) if i != j])
        - 2 * np.mean([k(x, y) for x in a for y in b])
    )
    assert _unbiased(a, b) == pytest.approx(expected, rel=1e-12)


def test_order_by_class_does_not_matter(key):
    # Sorted sets would give every block another class, and a huge error.
    rng = np.random.default_rng(5)
    a = np.sort(rng.normal(size=(1000, 1)), axis=0)
    b = np.sort(rng.normal(size=(1000, 1)), axis=0)[::-1]
    value, error = kernel_distance(a, b, key=key)
    assert abs(value) < 4 * error
    # Unshuffled, the third moments of the blocks alone would make it larger than 5.
    assert error < 0.5


def test_refusals(key):
    a = np.zeros((10, 3))
    with pytest.raises(ValueError, match=r"`num_blocks` is 10.*between 2 and 5"):
        kernel_distance(a, a, key=key)
    with pytest.raises(ValueError, match=r"`num_blocks` is 1"):
        kernel_distance(a, a, num_blocks=1, key=key)
    with pytest.raises(ValueError, match=r"with 3 and 10 rows.*Draw more samples"):
        kernel_distance(a[:3], a, num_blocks=2, key=key)
    with pytest.raises(ValueError, match="3 features a row and `features_b` has 2"):
        kernel_distance(a, a[:, :2], num_blocks=2, key=key)

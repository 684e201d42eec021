import numpy as np
import pytest

from softsde.metrics import precision_recall


def test_lattices():
    # Integers 0 ... 9 have their second neighbour at 1, but for the ends, at 2.
    data = np.arange(10.0)[:, None]
    samples = np.array([[0.5], [8.9], [10.9], [12.0], [-1.5], [-3.0]])
    precision, _ = precision_recall(samples, data, k=2)
    # In the manifold [-2, 11].
    assert precision == 4 / 6


def test_mode_dropping_costs_recall_only():
    rng = np.random.default_rng(0)
    data = np.concatenate([rng.normal(size=(100, 2)), rng.normal(size=(300, 2)) + 100])
    samples = 0.5 * rng.normal(size=(400, 2))
    precision, recall = precision_recall(samples, data)
    assert precision > 0.95
    assert 0.15 < recall <= 0.25


def test_implausible_samples_cost_precision_only():
    rng = np.random.default_rng(1)
    data = rng.normal(size=(300, 2))
    samples = np.concatenate([data, rng.normal(size=(100, 2)) + 100])
    precision, recall = precision_recall(samples, data)
    assert (precision, recall) == (0.75, 1.0)


def test_disjoint_and_equal_sets():
    rng = np.random.default_rng(2)
    a = rng.normal(size=(50, 3))
    assert precision_recall(a, a + 1000) == (0, 0)
    assert precision_recall(a, a) == (1, 1)
    # A radius of zero, far from the origin, where distances are rounded most.
    repeated = np.repeat(1000 + rng.normal(size=(10, 64)), 6, axis=0)
    assert precision_recall(repeated, repeated) == (1, 1)


def test_radius_reaches_the_kth_neighbour():
    data = np.array([[0.0], [1.0], [3.0], [7.0]])
    # Radii for k = 1, 2, 3 around 7 are 4, 6, 7, and around 0 are 1, 3, 7.
    for k, inside, outside in ((1, 10.9, 11.1), (2, 12.9, 13.1), (3, 13.9, 14.1)):
        samples = np.array([[inside], [outside], [inside], [outside]])
        assert precision_recall(samples, data, k=k).precision == 0.5


def test_against_the_definition_for_any_chunk():
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(37, 4)), 1.3 * rng.normal(size=(29, 4)) + 0.4
    between = np.linalg.norm(a[:, None] - b, axis=-1)
    radii = lambda x: np.sort(np.linalg.norm(x[:, None] - x, axis=-1), axis=1)[:, 3]
    expected = (
        (between <= radii(b)).any(axis=1).mean(),
        (between.T <= radii(a)).any(axis=1).mean(),
    )
    assert 0.2 < min(expected) < max(expected) < 1
    for chunk in (1, 8, 29, 1000):
        assert precision_recall(a, b, chunk=chunk) == expected


def test_refusals():
    a = np.zeros((4, 3))
    with pytest.raises(ValueError, match="`data` has 3 rows, but at least 4"):
        precision_recall(a, a[:3], k=3)
    with pytest.raises(ValueError, match="`k` is 0"):
        precision_recall(a, a, k=0)
    with pytest.raises(ValueError, match="3 features a row and `data` has 2"):
        precision_recall(a, a[:, :2])

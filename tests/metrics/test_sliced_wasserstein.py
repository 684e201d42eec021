import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from softsde.metrics import sliced_wasserstein


def test_translation(key):
    # Every line's transport is the shift's component: SW_2^2 = E (u . s)^2 = |s|^2 / d.
    # The variance of (u . s)^2 is |s|^4 2 (d - 1) / (d^2 (d + 2)).
    dim, projections = 12, 2000
    rng = np.random.default_rng(0)
    x, shift = rng.normal(size=(100, dim)), rng.normal(size=dim)
    distance = sliced_wasserstein(x, x + shift, num_projections=projections, key=key)
    expected = shift @ shift / dim
    error = expected * np.sqrt(2 * (dim - 1) / (dim + 2) / projections)
    assert abs(distance**2 - expected) < 4 * error
    # As the docstring states it.
    assert error < expected * np.sqrt(2 / projections)


def test_point_masses_of_unequal_weight(key):
    # In 1-d: mass 1/2 goes from 0 to 1, mass 1/6 from 1 to 3, the rest stays: with
    # a = {0 x 1/2, 1 x 1/2} and b = {1, 1, 3} / 3 quantiles give 1/2 * 1 + 1/3 * 2.
    a, b = np.array([[0.0], [1.0]]), np.array([[1.0], [3.0], [1.0]])
    for p in (1, 2, 3.5):
        distance = sliced_wasserstein(a, b, p=p, num_projections=3, key=key)
        assert distance**p == pytest.approx(1 / 2 + 2**p / 3, rel=1e-12)


@pytest.mark.parametrize(("num_a", "num_b"), [(50, 50), (50, 75), (31, 64), (1, 40)])
def test_one_dimension_against_scipy(key, num_a, num_b):
    # Both directions of the line give the same.
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=num_a), 1 + rng.exponential(size=num_b)
    distance = sliced_wasserstein(
        a[:, None], b[:, None], p=1, num_projections=2, key=key
    )
    expected = scipy.stats.wasserstein_distance(a, b)
    assert distance == pytest.approx(expected, rel=1e-12)


def test_isotropic_gaussians(key):
    # Projections are N(u . m, s^2), so SW_2^2 = |m|^2 / d + (s_a - s_b)^2 over u.
    rng = np.random.default_rng(2)
    dim, num = 4, 20_000
    mean = np.array([1.0, -1, 0.5, 0])
    a = 2 * rng.normal(size=(num, dim))
    b = 0.5 * rng.normal(size=(num // 2, dim)) + mean
    expected = mean @ mean / dim + 1.5**2
    squared = sliced_wasserstein(a, b, num_projections=1000, key=key) ** 2
    # Directions: sqrt(2 * 3 / 6 / 1000) of the first term, 0.018. Samples: s_a - s_b to
    # 0.011 on each line (0.033 in the square), far less on their mean.
    assert squared == pytest.approx(expected, abs=4 * 0.018)


def test_anisotropic_scaling(key):
    # b = c a: the transport on each line is the scaling, so that SW_2^2 is
    # (1 - c)^2 E (u . a)^2 = (1 - c)^2 E |a|^2 / d, over directions.
    rng = np.random.default_rng(3)
    a = rng.normal(size=(200, 5)) * [3, 2, 1, 1, 0.5]
    second = a.T @ a / len(a)
    projections = 3000
    squared = sliced_wasserstein(a, 0.25 * a, num_projections=projections, key=key) ** 2
    expected = 0.75**2 * np.trace(second) / 5
    # Var u^T M u = 2 (d tr M^2 - tr^2 M) / (d^2 (d + 2)).
    variance = 2 * (5 * np.trace(second @ second) - np.trace(second) ** 2) / 175
    assert abs(squared - expected) < 4 * 0.75**2 * np.sqrt(variance / projections)


def test_metric_properties(key):
    rng = np.random.default_rng(4)
    a, b, c = rng.normal(size=(3, 30, 6)) + np.array([0, 1, -2])[:, None, None]
    distance = lambda x, y: sliced_wasserstein(x, y, num_projections=70, key=key)
    assert distance(a, a[::-1]) == 0
    assert distance(a, b) == pytest.approx(distance(b, a), rel=1e-12)
    assert distance(a, c) <= distance(a, b) + distance(b, c)
    # Repeating every sample changes no distribution, only the sizes.
    assert distance(np.repeat(a, 3, axis=0), b) == pytest.approx(distance(a, b))


def test_shapes_and_dtypes(key):
    rng = np.random.default_rng(6)
    a, b = rng.random((20, 4, 5, 3)), rng.random((30, 4, 5, 3))
    flat = sliced_wasserstein(a.reshape(20, -1), b.reshape(30, -1), key=key)
    assert sliced_wasserstein(a, b, key=key) == flat
    single = sliced_wasserstein(jnp.asarray(a), jnp.asarray(b), key=key)
    assert single == pytest.approx(flat, rel=1e-6)
    assert sliced_wasserstein(a, b, key=jax.random.key(1)) != flat


def test_refusals(key):
    a = np.zeros((4, 3))
    with pytest.raises(ValueError, match="3 features a row and `b` has 2"):
        sliced_wasserstein(a, a[:, :2], key=key)
    with pytest.raises(ValueError, match=r"`num_projections` is 0"):
        sliced_wasserstein(a, a, num_projections=0, key=key)
    with pytest.raises(ValueError, match=r"`p` is 0.5.*1 <= p"):
        sliced_wasserstein(a, a, p=0.5, key=key)
    with pytest.raises(ValueError, match=r"`b` has 3 entries out of 9 .* not finite"):
        sliced_wasserstein(a, np.where(np.arange(3) == 1, np.inf, a[:3]), key=key)
    with pytest.raises(ValueError, match="`a` has 0 rows"):
        sliced_wasserstein(a[:0], a, key=key)
    with pytest.raises(ValueError, match=r"a batch `\(num, ...\)`"):
        sliced_wasserstein(a[0], a[0], key=key)
    with pytest.raises(TypeError, match=r"`a` is uint8 and `b` is float64.*255"):
        sliced_wasserstein(a.astype(np.uint8), a, key=key)

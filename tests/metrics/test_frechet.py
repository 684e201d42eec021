import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

from softsde.metrics import (
    FeatureMoments,
    frechet_bias,
    frechet_distance,
    frechet_distance_from_moments,
    frechet_error,
    frechet_limit,
)


@pytest.fixture
def rng():
    return np.random.default_rng(5)


def random_covariance(rng, dim, rank):
    factor = rng.normal(size=(dim, rank))
    return factor @ factor.T / rank


def random_rotation(rng, dim):
    return np.linalg.qr(rng.normal(size=(dim, dim)))[0]


def test_one_dimensional_gaussians():
    # W2^2 = (m_a - m_b)^2 + (s_a - s_b)^2.
    scalar = lambda x: np.full((1, 1), x)
    distance = frechet_distance_from_moments(
        np.array([1.0]), scalar(4.0), np.array([3.0]), scalar(0.25)
    )
    assert distance == pytest.approx(2.0**2 + 1.5**2, rel=1e-14)


def test_two_point_sets():
    # {-1, 1} has variance 2 and {0, 4} has variance 8, means 0 and 2.
    distance = frechet_distance(np.array([[-1.0], [1.0]]), np.array([[0.0], [4.0]]))
    assert distance == pytest.approx(4 + (np.sqrt(8) - np.sqrt(2)) ** 2, rel=1e-14)


def test_commuting_covariances(rng):
    q = random_rotation(rng, 6)
    a, b = rng.uniform(0, 3, size=(2, 6))
    a[0] = b[1] = 0
    mean_a, mean_b = rng.normal(size=(2, 6))
    distance = frechet_distance_from_moments(
        mean_a, q @ np.diag(a) @ q.T, mean_b, q @ np.diag(b) @ q.T
    )
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((np.sqrt(a) - np.sqrt(b)) ** 2)
    assert distance == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("dim", [1, 3, 20])
def test_against_the_matrix_square_root(rng, dim):
    cov_a, cov_b = (random_covariance(rng, dim, dim + 2) for _ in range(2))
    mean_a, mean_b = rng.normal(size=(2, dim))
    root = np.real(scipy.linalg.sqrtm(cov_a @ cov_b))
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    distance = frechet_distance_from_moments(mean_a, cov_a, mean_b, cov_b)
    assert distance == pytest.approx(expected, rel=1e-9)


@pytest.mark.filterwarnings("ignore:Matrix is singular")
@pytest.mark.parametrize(("rank_a", "rank_b"), [(2, 8), (3, 3), (7, 1)])
def test_rank_deficient_against_the_matrix_square_root(rng, rank_a, rank_b):
    cov_a = random_covariance(rng, 8, rank_a)
    cov_b = random_covariance(rng, 8, rank_b)
    # tr (A B)^{1/2} = tr (R B R)^{1/2} with R = A^{1/2}; sqrtm itself is good to the
    # square root of rounding error only, where eigenvalues are zero.
    root_a = np.real(scipy.linalg.sqrtm(cov_a))
    root = np.real(scipy.linalg.sqrtm(root_a @ cov_b @ root_a))
    expected = np.trace(cov_a + cov_b - 2 * root)
    zero = np.zeros(8)
    distance = frechet_distance_from_moments(zero, cov_a, zero, cov_b)
    assert distance == pytest.approx(expected, abs=1e-6)


def test_orthogonal_supports(rng):
    # Nothing to match: the traces add up, with no error of size sqrt(eps).
    cov_a, cov_b = np.diag([2.0, 3.0, 0, 0]), np.diag([0, 0, 5.0, 0])
    q = random_rotation(rng, 4)
    zero = np.zeros(4)
    distance = frechet_distance_from_moments(
        zero, q @ cov_a @ q.T, zero, q @ cov_b @ q.T
    )
    assert distance == pytest.approx(10, rel=1e-13)


def test_fewer_samples_than_features(rng):
    # 3 points in 50 dimensions: a shift is seen exactly.
    a = rng.normal(size=(3, 50))
    with pytest.warns(
        UserWarning, match=r"3 rows of 50 features.*biased upwards.*about"
    ):
        assert frechet_distance(a, a + 0.5) == pytest.approx(0.25 * 50, rel=1e-12)
    with pytest.warns(UserWarning, match=r"`features_.` has 3 rows"):
        assert frechet_distance(a, a) < 1e-12


def test_invariances(rng):
    a, b = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) * [1, 2, 3, 4, 5]
    q, shift = random_rotation(rng, 5), rng.normal(size=5)
    distance = frechet_distance(a, b)
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-12)
    assert frechet_distance(a @ q + shift, b @ q + shift) == pytest.approx(
        distance, rel=1e-11
    )
    assert frechet_distance(3 * a, 3 * b) == pytest.approx(9 * distance, rel=1e-12)
    assert frechet_distance(a[::-1], b[::-1]) == pytest.approx(distance, rel=1e-12)


def test_float32_inputs_are_computed_in_float64(rng):
    # A common offset of 1e3 leaves float32 moments no digits of a covariance of 1e-4.
    a = (1e3 + 0.01 * rng.normal(size=(500, 3))).astype(np.float32)
    b = (1e3 + 0.02 * rng.normal(size=(500, 3))).astype(np.float32)
    expected = frechet_distance(a.astype(np.float64) - 1e3, b.astype(np.float64) - 1e3)
    assert frechet_distance(jnp.asarray(a), b) == pytest.approx(expected, rel=1e-6)


def test_moments_do_not_depend_on_the_split(rng):
    features = 100 + rng.normal(size=(57, 4)) @ rng.normal(size=(4, 4))
    for sizes in ([57], [1] * 57, [10, 1, 46], [50, 7]):
        moments = FeatureMoments.empty(4)
        for part in np.split(features, np.cumsum(sizes)[:-1]):
            moments = moments.update(part)
        assert moments.count == 57
        np.testing.assert_allclose(moments.mean, features.mean(0), rtol=1e-13)
        np.testing.assert_allclose(moments.covariance, np.cov(features.T), rtol=1e-9)
    halves = FeatureMoments.of(features[:20]) + FeatureMoments.of(features[20:])
    np.testing.assert_allclose(halves.covariance, np.cov(features.T), rtol=1e-9)


def bias_of_identical_distributions(rng, eigenvalues, num_a, num_b, repeats):
    scale = np.sqrt(eigenvalues)
    draws = [
        frechet_distance(
            scale * rng.normal(size=(num_a, len(scale))),
            scale * rng.normal(size=(num_b, len(scale))),
        )
        for _ in range(repeats)
    ]
    return np.mean(draws), np.std(draws) / np.sqrt(repeats)


def test_bias_is_positive_and_shrinks_like_one_over_num(rng):
    eigenvalues = np.array([4.0, 1.0, 1.0, 0.1])
    sizes = np.array([50, 100, 200, 400])
    biases = []
    for num in sizes:
        bias, error = bias_of_identical_distributions(rng, eigenvalues, num, num, 200)
        assert bias > 5 * error
        biases.append(bias)
    slope = np.polyfit(np.log(sizes), np.log(biases), 1)[0]
    # 200 repeats leave about 4% on each bias, hence 0.05 on the slope.
    assert slope == pytest.approx(-1, abs=0.15)


def test_predicted_bias(rng):
    eigenvalues = np.array([4.0, 1.0, 1.0, 0.1, 0.0])
    bias, error = bias_of_identical_distributions(rng, eigenvalues, 1000, 300, 300)
    predicted = frechet_bias(np.diag(eigenvalues), 1000, 300)
    # The next order is smaller by about dim / num.
    assert abs(bias - predicted) < 4 * error + 0.03 * predicted


def test_predicted_bias_of_white_features():
    # d (d + 5) / 4 for each 1/num: d for the mean and d (d + 1) / 4 for the covariance.
    assert frechet_bias(np.eye(6), 100, 50) == pytest.approx(0.03 * 6 * 11 / 4)


def test_one_hundred_thousand_samples(rng):
    # Two known Gaussians; the distance of samples lies within its error bar.
    factor = rng.normal(size=(5, 5))
    cov_a, cov_b = factor @ factor.T, np.diag([4.0, 1, 1, 0.25, 0])
    mean_a, mean_b = rng.normal(size=(2, 5))
    truth = frechet_distance_from_moments(mean_a, cov_a, mean_b, cov_b)
    x = mean_a + rng.normal(size=(100_000, 5)) @ factor.T
    y = mean_b + rng.normal(size=(100_000, 5)) * [2, 1, 1, 0.5, 0]
    blocks = lambda z: [FeatureMoments.of(part) for part in np.split(z, 10)]
    estimate = frechet_limit(blocks(x), blocks(y))
    low, high = estimate.interval
    assert low < truth < high
    assert high - low < 0.05 * truth
    plain = frechet_error(blocks(x), FeatureMoments.of(y))
    assert plain.value == pytest.approx(frechet_distance(x, y), rel=1e-10)


def blocks_of(x, num):
    return [FeatureMoments.of(part) for part in np.array_split(x, num)]


def test_extrapolation_removes_the_bias(rng):
    # Equal distributions: the bias is 20 times the error of the mean over the draws.
    known = FeatureMoments(10**9, np.zeros(6), np.eye(6) * (10**9 - 1))
    draws = []
    for _ in range(100):
        blocks = blocks_of(rng.normal(size=(200, 6)), 10)
        limit, plain = frechet_limit(blocks, known), frechet_error(blocks, known)
        draws.append((limit.value, plain.value))
    draws = np.array(draws)
    mean, error = draws.mean(axis=0), draws.std(axis=0, ddof=1) / 10
    assert mean[1] == pytest.approx(6 * 11 / 4 / 200, rel=0.1)
    assert abs(mean[0]) < 4 * error[0] + 0.03 * mean[1]


def coverage(rng, shift, scale, known, repeats, num=400, dim=4):
    truth = dim * (shift**2 + (scale - 1) ** 2)
    reference = FeatureMoments(10**9, np.zeros(dim), np.eye(dim) * (10**9 - 1))
    covered = []
    for _ in range(repeats):
        x = shift + scale * rng.normal(size=(num, dim))
        b = reference if known else blocks_of(rng.normal(size=(num, dim)), 10)
        low, high = frechet_limit(blocks_of(x, 10), b).interval
        covered.append(low <= truth <= high)
    return np.mean(covered)


@pytest.mark.slow
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(("shift", "scale"), [(0.5, 1.0), (0.2, 1.3), (1.0, 0.7)])
def test_intervals_cover(rng, shift, scale, known):
    # 2000 draws leave 0.5 % on a coverage.
    assert 0.93 < coverage(rng, shift, scale, known, 2000) < 0.97


def test_intervals_cover_roughly(rng):
    assert 0.88 < coverage(rng, 0.5, 1.2, True, 150) < 0.995


def test_refusals(rng):
    a = rng.normal(size=(10, 3))
    with pytest.raises(ValueError, match=r"`features_b` has 1 rows.*at least 2"):
        frechet_distance(a, a[:1])
    with pytest.raises(ValueError, match=r"3 features a row and `features_b` has 2"):
        frechet_distance(a, a[:, :2])
    broken = a.copy()
    broken[3, 1] = np.nan
    with pytest.raises(ValueError, match=r"1 entries out of 30 that are not finite"):
        frechet_distance(broken, a)
    with pytest.raises(ValueError, match="needs at least 2 features, but 1"):
        _ = FeatureMoments.of(a[:1]).covariance
    with pytest.raises(ValueError, match="`a` has 2 blocks, but an error bar needs"):
        frechet_limit(blocks_of(a, 2), FeatureMoments.of(a))
    zero, one = np.zeros(2), np.eye(2)
    with pytest.raises(ValueError, match=r"`cov_b` is not symmetric"):
        frechet_distance_from_moments(zero, one, zero, np.array([[1.0, 1.0], [0, 1]]))
    with pytest.raises(ValueError, match=r"`cov_a` has the negative eigenvalue -1"):
        frechet_distance_from_moments(zero, np.diag([1.0, -1.0]), zero, one)
    with pytest.raises(ValueError, match=r"`cov_a` has shape \(3, 3\).*\(2, 2\)"):
        frechet_distance_from_moments(zero, np.eye(3), zero, one)
    with pytest.raises(ValueError, match="`mean_a` has 2 features and `mean_b` has 3"):
        frechet_distance_from_moments(zero, one, np.zeros(3), np.eye(3))
    with pytest.raises(ValueError, match="`num_a` is 1"):
        frechet_bias(one, 1, 10)

import numpy as np
import pytest

from softsde.metrics import authenticity, copy_test


def test_on_a_line():
    training = np.array([[0.0], [1.0], [10.0]])
    # 0.4 is nearer to 0 than 1 is; -2 is not; 10 is copied; 5.6 is nearer to 10 than
    # any fellow of it is.
    result = authenticity(np.array([[0.4], [-2.0], [10.0], [5.6]]), training)
    np.testing.assert_array_equal(result.authentic, [False, True, False, False])
    np.testing.assert_array_equal(result.nearest, [0, 0, 2, 2])
    np.testing.assert_allclose(result.distances, [0.4, 2, 0, 4.4])
    assert result.percent == 25


@pytest.mark.parametrize(
    ("dim", "mutual"),
    # The probability that a point and its nearest neighbour are the nearest of each
    # other: the volume of a ball over that of two unit balls at distance 1.
    [(1, 2 / 3), (2, 6 * np.pi / (8 * np.pi + 3 * np.sqrt(3))), (3, 16 / 27)],
)
def test_fresh_draws(dim, mutual):
    rng = np.random.default_rng(dim)
    # Far from the borders of a cube.
    training = rng.random((4000, dim))
    samples = 0.2 + 0.6 * rng.random((1000, dim))
    percent = authenticity(samples, training).percent
    error = 100 * np.sqrt(mutual * (1 - mutual) / 1000)
    assert abs(percent - 100 * (1 - mutual)) < 4 * error


def test_copies_are_not_authentic():
    rng = np.random.default_rng(0)
    training = rng.normal(size=(500, 8))
    copies = training[rng.integers(500, size=300)]
    assert authenticity(copies, training).percent == 0
    noisy = copies + 1e-3 * rng.normal(size=copies.shape)
    assert authenticity(noisy, training).percent == 0
    # A third of copies takes a third of the authentic ones away.
    fresh = rng.normal(size=(600, 8))
    mixed = authenticity(np.concatenate([fresh, noisy]), training).percent
    assert mixed == pytest.approx(2 / 3 * authenticity(fresh, training).percent)


def test_copy_test_against_scipy():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(1)
    training = rng.integers(0, 4, size=(60, 3)).astype(float)
    samples = rng.integers(0, 5, size=(50, 3)).astype(float)
    held_out = rng.integers(0, 4, size=(40, 3)).astype(float)
    near = lambda x: np.linalg.norm(x[:, None] - training, axis=-1).min(axis=1)
    expected = mannwhitneyu(
        near(samples),
        near(held_out),
        alternative="less",
        use_continuity=False,
        method="asymptotic",
    )
    result = copy_test(samples, held_out, training)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-10)
    assert result.probability == pytest.approx(expected.statistic / 2000, rel=1e-12)


def test_copy_test_is_fair_and_sees_copies():
    rng = np.random.default_rng(2)
    p_values = []
    for _ in range(200):
        # The training data are the same for both sides, so each test needs new ones.
        training = rng.normal(size=(60, 2))
        fresh, held_out = rng.normal(size=(2, 40, 2))
        p_values.append(copy_test(fresh, held_out, training).p_value)
    # Uniform: Kolmogorov and Smirnov's distance exceeds 1.63 / sqrt(200) in 1 %.
    order = np.sort(p_values)
    distance = np.abs(order - (np.arange(200) + 0.5) / 200).max()
    assert distance < 1.63 / np.sqrt(200)
    training = rng.normal(size=(500, 2))
    held_out = rng.normal(size=(300, 2))
    copies = training[:100] + 1e-3 * rng.normal(size=(100, 2))
    mixed = np.concatenate([rng.normal(size=(200, 2)), copies])
    assert copy_test(mixed, held_out, training).z < -5
    assert copy_test(held_out + 3, held_out, training).z > 5


def test_nothing_to_tell_apart():
    same = np.ones((5, 2))
    assert copy_test(same, same, same) == (0, 0.5, 0.5)


def test_refusals():
    a = np.zeros((4, 3))
    with pytest.raises(ValueError, match=r"`training` has 1 row.*fellow"):
        authenticity(a, a[:1])
    with pytest.raises(ValueError, match="3 features a row and `training` has 2"):
        authenticity(a, a[:, :2])

"""Song and Ermon's techniques: against their published settings, and against noise."""

import math

import numpy as np
import pytest

from softsde.fitting import (
    geometric_ratio,
    langevin_step_size,
    largest_distance,
    num_noise_levels,
    shell_overlap,
    variance_ratio,
)

# Components, sigma_max, number of levels: the configurations that come with their code.
PUBLISHED = {
    "cifar10": (32 * 32 * 3, 50.0, 232),
    "celeba": (64 * 64 * 3, 90.0, 500),
    "church": (96 * 96 * 3, 140.0, 788),
    "bedroom": (128 * 128 * 3, 190.0, 1086),
    "ffhq": (256 * 256 * 3, 348.0, 2311),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_one_overlap_gives_all_the_published_numbers_of_levels(name):
    dim, sigma_max, number = PUBLISHED[name]
    ratio = geometric_ratio(dim, overlap=0.567)
    assert num_noise_levels(0.01, sigma_max, ratio) == pytest.approx(number, rel=5e-3)
    # Their "about a half": an exact half asks for 5.6 % fewer.
    half = num_noise_levels(0.01, sigma_max, geometric_ratio(dim))
    assert half == pytest.approx(number, rel=0.06) and half < number


def test_the_ratio_is_the_overlap_of_shells_of_noise():
    """By drawing the radii, of which the formula is the limit in many dimensions."""
    dim = 3072
    radii = np.sqrt(np.random.default_rng(0).chisquare(dim, 40_000))
    for overlap in (0.3, 0.5, 0.8):
        ratio = geometric_ratio(dim, overlap=overlap)
        within = np.abs(radii - ratio * np.sqrt(dim)) < 3 * ratio / np.sqrt(2)
        # Four standard errors are 0.01; the radii are nearly normal.
        assert np.mean(within) == pytest.approx(overlap, abs=0.015)


@pytest.mark.parametrize("dim", [5, 784, 3072])
def test_the_overlap_is_the_formula(dim):
    """`Phi(sqrt(2D)(g - 1) + 3g) - Phi(sqrt(2D)(g - 1) - 3g)`, by another function."""
    phi = lambda v: 0.5 * math.erfc(-v / math.sqrt(2))
    for ratio in (1.0, 1.02, 1.1, 1.3):
        middle = math.sqrt(2 * dim) * (ratio - 1)
        expected = phi(middle + 3 * ratio) - phi(middle - 3 * ratio)
        assert shell_overlap(dim, ratio) == pytest.approx(expected, abs=1e-13)
    if dim > 5:
        assert shell_overlap(dim, geometric_ratio(dim)) == pytest.approx(0.5)


def test_the_levels_of_the_report_overlap_as_they_should():
    """200 geometric levels from 1 to 0.01 on 784 pixels: a ratio of 1.0234.

    The radii are drawn: 40,000 draws have a standard error of 0.001.
    """
    ratio = 100 ** (1 / 199)
    radii = np.sqrt(np.random.default_rng(1).chisquare(784, 40_000))
    within = np.abs(radii - ratio * np.sqrt(784)) < 3 * ratio / np.sqrt(2)
    # The radius is nearly normal: its skewness leaves 0.004.
    assert shell_overlap(784, ratio) == pytest.approx(np.mean(within), abs=0.008)


def test_a_ratio_of_so_many_levels_gives_them_back():
    for number in (2, 10, 232, 2311):
        ratio = (50.0 / 0.01) ** (1 / (number - 1))
        assert num_noise_levels(0.01, 50.0, ratio) == number
    assert num_noise_levels(1.0, 8.0, 2.1) == 4
    assert num_noise_levels(1.0, 8.0, 1.9) == 5


@pytest.mark.parametrize(
    "name, num_steps, published",
    [("cifar10", 5, 6.2e-6), ("celeba", 5, 3.3e-6), ("bedroom", 3, 1.8e-6),
     ("ffhq", 3, 0.9e-6)],
)  # fmt: skip
def test_the_published_step_sizes(name, num_steps, published):
    _, sigma_max, number = PUBLISHED[name]
    ratio = (sigma_max / 0.01) ** (1 / (number - 1))
    step = langevin_step_size(0.01, ratio, num_steps)
    assert step == pytest.approx(published, abs=0.05e-6)


def test_the_variance_ratio_is_that_of_the_recursion():
    sigma_min, ratio, num_steps = 0.02, 1.3, 4
    for step in (1e-5, 1e-4, 3e-4):
        for sigma in (0.02, 0.5):
            size = step * (sigma / sigma_min) ** 2
            variance = (ratio * sigma) ** 2
            for _ in range(num_steps):
                # x + size * score + sqrt(2 size) z, with the score -x / sigma^2.
                variance = (1 - size / sigma**2) ** 2 * variance + 2 * size
            expected = variance_ratio(step, sigma_min, ratio, num_steps)
            assert variance / sigma**2 == pytest.approx(expected, rel=1e-12)


def test_no_other_step_is_better():
    step = langevin_step_size(0.1, 1.2, 6)
    steps = np.linspace(1e-6, 0.99e-2, 5000)
    best = min(variance_ratio(s, 0.1, 1.2, 6) for s in steps)
    assert 1 < variance_ratio(step, 0.1, 1.2, 6) <= best
    # More steps a level end nearer to the right variance.
    finer = variance_ratio(langevin_step_size(0.1, 1.2, 24), 0.1, 1.2, 24)
    assert finer < variance_ratio(step, 0.1, 1.2, 6)


@pytest.mark.parametrize("number, dim", [(2, 1), (40, 2), (2500, 3), (1500, 30)])
def test_largest_distance_is_that_of_all_pairs(number, dim):
    data = np.random.default_rng(number).normal(size=(number, dim)) + 100
    squared = ((data[:, None] - data[None]) ** 2).sum(-1) if number < 100 else None
    found = largest_distance(data)
    if squared is None:
        from scipy.spatial.distance import pdist

        truth = pdist(data).max()
    else:
        truth = np.sqrt(squared.max())
    i, j = found.pair
    assert found.distance == found.bound == pytest.approx(truth, rel=1e-12)
    assert np.linalg.norm(data[i] - data[j]) == pytest.approx(truth, rel=1e-12)


def test_a_limit_gives_two_bounds(x64):
    del x64
    data = np.random.default_rng(1).normal(size=(400, 2, 3))
    exact = largest_distance(data).distance
    for limit in (2, 10, 100, 400, 1000):
        found = largest_distance(data, limit=limit)
        assert found.distance <= exact * (1 + 1e-12)
        assert exact <= found.bound * (1 + 1e-12)
    # Two points far away from all others are found, and known to be the answer.
    data[7], data[300] = 50.0, -50.0
    found = largest_distance(data, limit=2)
    assert found.pair == (7, 300)
    assert found.distance == pytest.approx(100 * np.sqrt(6))
    assert found.bound < 1.1 * found.distance


def test_single_precision_data_far_from_the_origin():
    data = np.float32([[1000.0, 0.0], [1000.5, 0.0], [1000.25, 0.1]])
    assert largest_distance(data).distance == pytest.approx(0.5, rel=1e-6)


def test_an_overlap_of_nothing_is_refused():
    for dim, ratio in ((0, 1.1), (10, 0.9), (10, math.inf)):
        with pytest.raises(ValueError, match="larger level over the smaller"):
            shell_overlap(dim, ratio)


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="at least two samples, got 1"):
        largest_distance(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="limit=1"):
        largest_distance(np.zeros((4, 3)), limit=1)
    with pytest.raises(ValueError, match="not finite"):
        largest_distance(np.full((4, 3), np.nan))
    with pytest.raises(ValueError, match="no solution below 5"):
        geometric_ratio(4)
    with pytest.raises(ValueError, match=r"overlap=1\.0"):
        geometric_ratio(10, overlap=1.0)
    with pytest.raises(ValueError, match="`sigma_min` < `sigma_max`"):
        num_noise_levels(1.0, 0.1, 1.1)
    with pytest.raises(ValueError, match=r"`ratio` > 1, got 1\.0"):
        num_noise_levels(0.1, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"`ratio` > 1, got 0\.5"):
        langevin_step_size(0.1, 0.5, 3)
    with pytest.raises(ValueError, match="num_steps=0"):
        langevin_step_size(0.1, 1.5, 0)
    with pytest.raises(ValueError, match="`sigma_min` > 0"):
        langevin_step_size(0.0, 1.5, 3)

"""The final level on data whose law is known at every level."""

import jax
import numpy as np
import pytest
from scipy import stats

from softsde.corruptions import Fade, HeatBlur
from softsde.fitting import final_level
from softsde.fitting._final_level import _departure, _normal_quantiles


def departure(samples):
    return _departure(samples[:, None], _normal_quantiles(len(samples)))[0]


def test_the_departure_is_the_distance_to_the_nearest_gaussian():
    # Exact quantiles of a uniform law: W2^2 to its nearest Gaussian is 1/12 less the
    # square of the integral of u Phi^-1(u), which is 1 / (2 sqrt pi).
    uniform = (np.arange(20_000) + 0.5) / 20_000
    assert departure(uniform) == pytest.approx(1 - 12 / (4 * np.pi), abs=2e-4)
    # Two points at +-1: the integral is E|z|.
    two = np.repeat([-1.0, 1.0], 10_000)
    assert departure(two) == pytest.approx(1 - 2 / np.pi, abs=2e-4)
    normal = stats.norm.ppf(uniform)
    assert departure(3 * normal - 7) < 1e-12


def test_noise_makes_two_points_gaussian_at_the_level_where_theory_says(key, x64):
    """The points are +-a: at the level, their known departure is the one tolerated."""
    data = np.random.default_rng(0).choice([-1.0, 1.0], (20_000, 1))
    levels = np.linspace(0.0, 0.9, 10)

    def exact(a, sigma=0.3):
        mixture = lambda x: 0.5 * sum(stats.norm.cdf(x, m, sigma) for m in (-a, a))
        x = np.linspace(-a - 7 * sigma, a + 7 * sigma, 40_001)
        # The integral of F^-1 Phi^-1, with F^-1(u) = x and du = dF.
        mass = np.diff(mixture(x))
        middle = 0.5 * (mixture(x[1:]) + mixture(x[:-1]))
        inside = (middle > 1e-15) & (middle < 1 - 1e-15)
        z = stats.norm.ppf(middle[inside])
        cross = np.sum(mass[inside] * z * 0.5 * (x[1:] + x[:-1])[inside])
        return 1 - cross**2 / (a**2 + sigma**2)

    truth = np.array([exact(1 - level) for level in levels])
    found = final_level(
        Fade(), levels, data, sigma=0.3, tolerance=0.02, max_samples=20_000, key=key
    )
    # The sampling error of 20,000 draws, where the departure is not small.
    np.testing.assert_allclose(found.departures, truth, atol=3e-3)
    first = int(np.argmax(truth <= 0.02))
    assert 0 < first < 9 and found.index == first
    assert found.level == levels[first]


def test_gaussian_data_pass_at_every_level(key):
    """The test turns down a Gaussian with the probability that it was given."""
    rng = np.random.default_rng(1)
    passed = []
    for _ in range(30):
        data = np.float32(rng.normal(size=(200, 6)) * np.arange(1, 7))
        found = final_level(
            Fade(), np.array([0.0, 0.5]), data, sigma=0.1, significance=0.2, key=key
        )
        passed.append(found.index == 0)
    # 30 draws of probability 0.8: within three standard deviations, 0.073 each.
    assert 0.58 < np.mean(passed)
    assert found.ranks.tolist() == [6, 6]


def test_no_level_where_two_points_stay_two(key):
    data = np.float32(np.random.default_rng(2).choice([-1.0, 1.0], (300, 1)))
    found = final_level(Fade(), np.array([0.0, 0.1]), data, sigma=0.01, key=key)
    assert found.level is None and found.index is None
    assert np.all(found.departures > found.thresholds)


@pytest.mark.slow
def test_ranks_are_the_directions_that_stand_out_of_the_noise(key, x64):
    rng = np.random.default_rng(3)
    data = rng.normal(size=(500, 8, 8, 1)).cumsum(axis=1).cumsum(axis=2)
    levels = np.geomspace(0.5, 8.0, 6)
    found = final_level(
        HeatBlur((8, 8, 1)), levels, data, sigma=0.5, max_rank=3, key=key
    )
    omega = np.pi * np.arange(8) / 8
    for i, theta in enumerate(levels):
        factor = np.exp(-0.5 * theta**2 * omega**2)
        k = np.arange(8)
        dct = np.cos(np.pi * k[:, None] * (2 * k[None] + 1) / 16) / 2
        dct[0] /= np.sqrt(2)
        matrix = dct.T @ np.diag(factor) @ dct
        blurred = np.einsum("ij,njk,lk->nil", matrix, data[..., 0], matrix)
        spread = np.linalg.svd(
            blurred.reshape(500, -1) - blurred.reshape(500, -1).mean(0),
            compute_uv=False,
        ) / np.sqrt(499)
        assert found.ranks[i] == np.sum(spread > 0.05)
    assert found.index == int(np.argmax(found.ranks <= 3)) > 0


def test_more_components_than_samples(key):
    rng = np.random.default_rng(4)
    wide = np.float32(rng.normal(size=(40, 100)))
    found = final_level(Fade(), np.array([0.0, 0.9]), wide, sigma=0.1, key=key)
    assert found.ranks.tolist() == [39, 39]


def test_it_is_reproducible_by_its_key(key):
    data = np.float32(np.random.default_rng(5).uniform(size=(50, 3)))
    levels = np.array([0.0, 0.5, 0.9])
    draw = lambda k: final_level(Fade(), levels, data, sigma=0.2, key=k).departures
    np.testing.assert_array_equal(draw(key), draw(key))
    assert np.all(draw(key) != draw(jax.random.key(1)))


def test_mistakes_are_named(key):
    data, levels = np.zeros((20, 3), np.float32), np.array([0.0, 0.5])
    call = lambda d=data, v=levels, **k: final_level(
        Fade(), v, d, **({"sigma": 0.1} | k), key=key
    )
    with pytest.raises(ValueError, match="strictly increasing"):
        call(v=levels[::-1])
    with pytest.raises(ValueError, match="eight samples, got 7"):
        call(data[:7])
    with pytest.raises(ValueError, match="not finite"):
        call(data * np.float32(np.nan))
    with pytest.raises(ValueError, match="`sigma` > 0"):
        call(sigma=0.0)
    with pytest.raises(ValueError, match=r"both `tolerance`.*and `max_rank`"):
        call(tolerance=0.1, max_rank=3)
    with pytest.raises(ValueError, match=r"significance=0\.0"):
        call(significance=0.0)

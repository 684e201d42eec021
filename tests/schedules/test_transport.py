"""Transport schedules against brute force and the exact assignment."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance

from softsde.corruptions import GaussianBlur
from softsde.schedules import transport_schedule

LEVELS = np.geomspace(0.01, 4.0, 12)


@pytest.fixture
def data():
    # Smooth positive blobs, unlike one another.
    rng = np.random.default_rng(3)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), axis=-1)
    centres = rng.uniform(1, 7, (60, 1, 1, 2))
    widths = rng.uniform(0.7, 2.5, (60, 1, 1))
    return np.exp(-((grid - centres) ** 2).sum(-1) / widths)[..., None]


def corrupted(blur, theta, data):
    out = jax.vmap(lambda x: blur.apply(theta, x))(jnp.asarray(data))
    return np.asarray(out).reshape(len(data), -1)


@pytest.mark.parametrize("padding", ["periodic", "zero"])
def test_distances_are_those_of_the_exact_assignment(x64, data, padding):
    blur = GaussianBlur((8, 8, 1), 8, padding)
    result = transport_schedule(blur, LEVELS, data, num_points=4)
    for i, j in [(0, 5), (4, 7), (6, 11), (0, 11)]:
        a, b = corrupted(blur, LEVELS[i], data), corrupted(blur, LEVELS[j], data)
        cost = scipy.spatial.distance.cdist(a, b, "sqeuclidean")
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        exact = np.sqrt(cost[rows, columns].mean())
        assert result.distances[i, j] == pytest.approx(exact, rel=1e-9)


def test_the_path_is_the_best_of_all(x64, data):
    blur = GaussianBlur((8, 8, 1), 8, "periodic")
    result = transport_schedule(blur, LEVELS, data, num_points=5)
    d = result.distances

    def steps(middle):
        path = (0, *middle, len(LEVELS) - 1)
        return d[path[:-1], path[1:]]

    every = [steps(m) for m in itertools.combinations(range(1, len(LEVELS) - 1), 3)]
    best = min(s.max() for s in every)
    shortest = min(s.sum() for s in every if s.max() <= best)
    chosen = steps(result.path[1:-1])
    assert len(result.path) == 5
    assert result.epsilon == pytest.approx(best)
    assert chosen.sum() == pytest.approx(shortest)


def test_the_schedule_runs_from_start_to_end(x64, data):
    blur = GaussianBlur((8, 8, 1), 8)
    result = transport_schedule(blur, LEVELS, data, num_points=6, start=0.2)
    schedule = result.schedule
    assert float(schedule(0.1)) == LEVELS[0]
    assert float(schedule(0.2)) == LEVELS[0]
    assert float(schedule(1.0)) == pytest.approx(LEVELS[-1])
    np.testing.assert_allclose(schedule.levels, LEVELS[list(result.path)])


def test_single_precision_keeps_the_small_distances(data):
    blur = GaussianBlur((8, 8, 1), 8, "periodic")
    levels = np.linspace(3.0, 3.05, 6)
    result = transport_schedule(blur, levels, data.astype(np.float32), num_points=2)
    with jax.enable_x64(True):
        truth = transport_schedule(blur, levels, data, num_points=2).distances
    np.testing.assert_allclose(result.distances, truth, rtol=2e-3)


def test_mistakes_are_named(data):
    blur = GaussianBlur((8, 8, 1), 8)
    with pytest.raises(ValueError, match="strictly increasing"):
        transport_schedule(blur, LEVELS[::-1], data)
    with pytest.raises(ValueError, match="num_points=32"):
        transport_schedule(blur, LEVELS, data)
    with pytest.raises(ValueError, match="no data"):
        transport_schedule(blur, LEVELS, data[:0], num_points=4)
    with pytest.raises(ValueError, match="not finite"):
        transport_schedule(blur, LEVELS, np.float32(data * np.nan), num_points=4)
    with pytest.raises(ValueError, match=r"start=1\.0"):
        transport_schedule(blur, LEVELS, data, num_points=4, start=1.0)

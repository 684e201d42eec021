"""Transport schedules against brute force and the exact assignment."""

import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.spatial.distance

from softsde.corruptions import (
    FunctionCorruption,
    GaussianBlur,
    HeatBlur,
    Scale,
)
from softsde.fitting import (
    AbstractTransportMetric,
    Brenier,
    PairDistances,
    transport_schedule,
)
from softsde.fitting._transport._path import (
    even_path,
    shortest_path,
    smallest_epsilon,
)

LEVELS = np.geomspace(0.01, 4.0, 12)
SHAPE = (8, 8, 1)


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


def assignment(a, b):
    cost = scipy.spatial.distance.cdist(a, b, "sqeuclidean")
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    return np.sqrt(cost[rows, columns].mean())


@pytest.mark.parametrize(
    "corruption, kind",
    [
        pytest.param(
            GaussianBlur(SHAPE, 8, "periodic"), "upper bound", marks=pytest.mark.slow
        ),
        (GaussianBlur(SHAPE, 8, "zero"), "upper bound"),
        (HeatBlur(SHAPE), "exact"),
    ],
)
def test_distances_are_those_of_the_exact_assignment(x64, data, corruption, kind):
    result = transport_schedule(corruption, LEVELS, data, num_points=4)
    assert result.kind == kind
    assert result.exact == (kind == "exact")
    for i, j in [(0, 5), (4, 7), (6, 11), (0, 11)]:
        a, b = (corrupted(corruption, LEVELS[k], data) for k in (i, j))
        assert result.distances[i, j] == pytest.approx(assignment(a, b), rel=1e-9)


def test_where_the_identity_is_not_optimal_it_is_not_called_so(x64, data):
    """x -> (1 - 2 theta) x turns data that is its own mirror image into itself."""
    mirrored = np.concatenate([data, -data])
    flip = FunctionCorruption(lambda theta, x: (1 - 2 * theta) * x, SHAPE)
    result = transport_schedule(flip, np.array([0.0, 1.0]), mirrored, num_points=2)
    a, b = (corrupted(flip, theta, mirrored) for theta in (0.0, 1.0))
    assert assignment(a, b) == pytest.approx(0, abs=1e-7)
    assert result.distances[0, 1] ** 2 == pytest.approx(
        4 * np.square(data).sum(axis=(1, 2, 3)).mean()
    )
    assert result.kind == "upper bound"


@pytest.mark.parametrize(
    "corruption", [pytest.param(HeatBlur(SHAPE), marks=pytest.mark.slow), Scale()]
)
def test_every_way_to_sum_is_the_plain_one(x64, data, corruption):
    """By eigenvalues, by samples and by second moments, in blocks of any size."""
    levels = np.linspace(0.1, 0.9, 4)
    plain = FunctionCorruption(corruption.apply, SHAPE)
    many = np.concatenate([data + 0.01 * k for k in range(3)])
    assert len(many) > 2 * many[0].size > len(data)
    for samples in (data, many):
        images = np.stack([corrupted(corruption, t, samples) for t in levels])
        moves = images[:, None] - images[None]
        truth = np.sqrt(np.square(moves).sum(-1).mean(-1))
        for family, block in ((corruption, 7), (plain, 7), (plain, None)):
            found = Brenier(block).distances(family, levels, samples)
            np.testing.assert_allclose(found.matrix, truth, rtol=1e-9, atol=1e-12)


def test_the_path_is_the_best_of_all(x64, data):
    blur = GaussianBlur(SHAPE, 8, "periodic")
    result = transport_schedule(blur, LEVELS, data, num_points=5)
    d = result.distances

    def steps(middle):
        path = (0, *middle, len(LEVELS) - 1)
        return d[path[:-1], path[1:]]

    every = [steps(m) for m in itertools.combinations(range(1, len(LEVELS) - 1), 3)]
    best = min(s.max() for s in every)
    shortest = min(s.sum() for s in every if s.max() <= best)
    assert len(result.path) == 5
    assert result.epsilon == pytest.approx(best)
    assert result.length == pytest.approx(shortest)
    np.testing.assert_array_equal(result.steps, steps(result.path[1:-1]))


def _random_distances(seed, size=7):
    points = np.random.default_rng(seed).normal(size=(size, 2)).cumsum(0)
    return scipy.spatial.distance.cdist(points, points)


@pytest.mark.parametrize("seed", range(5))
def test_the_shortest_path_is_the_shortest_of_all(seed):
    """It is compared with every path there is, for any number of points."""
    d = _random_distances(seed)
    last = len(d) - 1
    every = [
        (0, *middle, last)
        for count in range(last)
        for middle in itertools.combinations(range(1, last), count)
    ]
    longest = {p: d[p[:-1], p[1:]].max() for p in every}
    smallest = min(longest.values())
    assert smallest_epsilon(d, None) == pytest.approx(smallest)
    for epsilon in (smallest, 1.3 * smallest):
        allowed = [p for p in every if longest[p] <= epsilon]
        best = min(d[p[:-1], p[1:]].sum() for p in allowed)
        path = shortest_path(d, epsilon)
        assert path in allowed
        assert d[path[:-1], path[1:]].sum() == pytest.approx(best)


def test_equal_corruptions_stay_apart_in_the_graph():
    """A distance of zero is an edge, although a sparse matrix would drop it."""
    positions = np.array([0.0, 0.0, 0.0, 1.0])
    d = np.abs(positions[:, None] - positions[None])
    assert smallest_epsilon(d, 4) == 1.0
    assert even_path(d, 4) == (0, 1, 2, 3)
    d[0, 2:] = d[1, 3] = np.inf
    assert shortest_path(d, 1.0) == (0, 1, 2, 3)


def test_epsilon_alone_decides_where_no_number_is_asked(x64, data):
    blur = HeatBlur(SHAPE)
    even = transport_schedule(blur, LEVELS, data, num_points=5)
    free = transport_schedule(blur, LEVELS, data, num_points=None, epsilon=even.epsilon)
    # A shortcut is never longer, so what is left of the points is what fits.
    assert len(free.path) <= 5
    assert free.steps.max() <= even.epsilon == free.epsilon
    assert free.length <= even.length + 1e-12
    loose = transport_schedule(blur, LEVELS, data, num_points=5, epsilon=2.0)
    assert len(loose.path) == 5
    assert loose.steps.max() <= 2.0
    assert loose.length <= even.length


@pytest.mark.parametrize("num_points", [4, None])
def test_an_epsilon_too_small_is_told_the_smallest_that_works(data, num_points):
    blur = HeatBlur(SHAPE)

    def attempt(epsilon):
        return transport_schedule(
            blur, LEVELS, data, num_points=num_points, epsilon=epsilon
        )

    with pytest.raises(ValueError, match="smallest epsilon that leaves one") as error:
        attempt(0.01)
    named = re.search(r"leaves one is ([\d.e-]+?)\.?$", str(error.value))
    assert named is not None
    smallest = float(named[1])
    assert attempt(smallest).steps.max() <= smallest
    with pytest.raises(ValueError, match="no path"):
        attempt(0.999 * smallest)


def test_the_choice_does_not_depend_on_the_scale_of_the_data(x64, data):
    blur = GaussianBlur(SHAPE, 8)
    one = transport_schedule(blur, LEVELS, data, num_points=5)
    other = transport_schedule(blur, LEVELS, 255 * data, num_points=5)
    assert one.path == other.path
    assert other.epsilon == pytest.approx(255 * one.epsilon)


def test_the_schedule_runs_from_start_to_end(x64, data):
    blur = GaussianBlur(SHAPE, 8)
    result = transport_schedule(blur, LEVELS, data, num_points=6, start=0.2)
    schedule = result.schedule
    assert float(schedule(0.1)) == LEVELS[0]
    assert float(schedule(0.2)) == LEVELS[0]
    assert float(schedule(1.0)) == pytest.approx(LEVELS[-1])
    np.testing.assert_allclose(schedule.levels, LEVELS[list(result.path)])


def test_single_precision_keeps_the_small_distances(data):
    blur = GaussianBlur(SHAPE, 8, "periodic")
    levels = np.linspace(3.0, 3.05, 6)
    result = transport_schedule(blur, levels, data.astype(np.float32), num_points=2)
    with jax.enable_x64(True):
        truth = transport_schedule(blur, levels, data, num_points=2).distances
    np.testing.assert_allclose(result.distances, truth, rtol=2e-3)


def test_the_picture_shows_the_path(data):
    pytest.importorskip("matplotlib")
    result = transport_schedule(HeatBlur(SHAPE), LEVELS, data, num_points=5)
    left, right = result.plot().axes[:2]
    marks = left.lines[-1].get_xydata()
    np.testing.assert_array_equal(marks[:, 1], result.path[:-1])
    np.testing.assert_array_equal(marks[:, 0], result.path[1:])
    np.testing.assert_allclose(
        right.lines[-1].get_ydata(), LEVELS[list(result.path)], rtol=1e-6
    )


class _Given(AbstractTransportMetric):
    """Distances from elsewhere."""

    matrix: np.ndarray

    def distances(self, corruption, levels, data, *, num_points, epsilon, key):
        return PairDistances(self.matrix, "estimate")


def test_a_user_defined_metric(data):
    positions = np.array([0.0, 1.0, 5.0, 6.0, 9.0])
    metric = _Given(np.abs(positions[:, None] - positions[None]))
    levels = np.arange(5.0)
    result = transport_schedule(Scale(), levels, data, num_points=3, metric=metric)
    assert result.path == (0, 2, 4)
    assert (result.epsilon, result.length, result.kind) == (5.0, 9.0, "estimate")
    broken = _Given(np.full((5, 5), np.nan))
    with pytest.raises(ValueError, match=r"not numbers \(NaN\) from `_Given`"):
        transport_schedule(Scale(), levels, data, num_points=3, metric=broken)


def test_mistakes_are_named(data):
    blur = GaussianBlur(SHAPE, 8)

    def attempt(levels=LEVELS, data=data, **options):
        return transport_schedule(blur, levels, data, **{"num_points": 4, **options})

    with pytest.raises(ValueError, match="strictly increasing"):
        attempt(LEVELS[::-1])
    with pytest.raises(ValueError, match="remove repeats"):
        attempt(np.array([0.1, 1.0, 1.0, 2.0]))
    with pytest.raises(ValueError, match="at least two"):
        attempt(LEVELS[:1])
    with pytest.raises(ValueError, match="`GaussianBlur` got the level"):
        attempt(np.linspace(-1.0, 1.0, 5))
    with pytest.raises(ValueError, match="num_points=32"):
        attempt(num_points=32)
    with pytest.raises(ValueError, match="`num_points`, `epsilon` or both"):
        attempt(num_points=None)
    with pytest.raises(ValueError, match=r"epsilon=-1\.0"):
        attempt(epsilon=-1.0)
    with pytest.raises(ValueError, match="no data"):
        attempt(data=data[:0])
    with pytest.raises(ValueError, match="3 samples for `num_points=4`"):
        attempt(data=data[:3])
    with pytest.raises(ValueError, match="not finite"):
        attempt(data=np.float32(data * np.nan))
    with pytest.raises(ValueError, match=r"outside `data_range=\(0\.0, 1\.0\)`"):
        attempt(data=255 * data, data_range=(0.0, 1.0))
    with pytest.raises(ValueError, match=r"start=1\.0"):
        attempt(start=1.0)
    with pytest.raises(ValueError, match="batch_size=0"):
        Brenier(0)


def test_mistakes_of_type_are_named(as_a_user, data):
    with pytest.raises(TypeError, match="floating-point"):
        transport_schedule(Scale(), LEVELS, (255 * data).astype(np.uint8), num_points=4)
    with pytest.raises(ValueError, match="metric='euclid'"):
        transport_schedule(
            Scale(),
            LEVELS,
            data,
            num_points=4,
            metric="euclid",  # pyright: ignore[reportArgumentType]
        )

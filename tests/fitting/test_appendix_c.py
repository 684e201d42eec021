"""The paper's method of choosing levels against a few lines of NumPy and SciPy."""

import heapq

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from softsde.corruptions import GaussianBlur
from softsde.data import digits, to_array
from softsde.fitting import UnpairedSinkhorn, appendix_c_schedule
from softsde.fitting._transport._path import tuned_path

BLUR = GaussianBlur((8, 8, 1), 8)
LEVELS = np.geomspace(0.4, 4.0, 5)


@pytest.fixture(scope="module")
def data():
    return to_array(digits(), limit=60)


def regularised_cost(x, y):
    """`min <P, c> + r KL(P | a b)`, r a twentieth of the deviation of the costs."""
    cost = np.square(x[:, None] - y[None]).sum(-1)
    r, n = 0.05 * cost.std(), len(cost)
    f = g = np.zeros(n)
    for _ in range(4000):
        f = -r * (scipy.special.logsumexp((g - cost) / r, axis=1) - np.log(n))
        g = -r * (scipy.special.logsumexp((f[:, None] - cost) / r, axis=0) - np.log(n))
    plan = np.exp((f[:, None] + g - cost) / r) / n**2
    return np.sum(plan * cost) + r * np.sum(plan * np.log(plan * n**2))


@pytest.mark.slow
def test_distances_are_ott_jaxs_between_different_images(x64, data):
    """Slices of a fifth: their images are found out from the drawn permutation."""
    images = data.astype(np.float64)
    key = jax.random.key(5)
    metric = UnpairedSinkhorn(0.2, threshold=1e-9, max_iterations=4000)
    found = metric.distances(BLUR, LEVELS, images, key=key)
    assert found.kind == "estimate"
    order = np.asarray(jax.random.permutation(key, 60))
    first, second = np.sort(order[:12]), np.sort(order[12:24])
    assert not set(first) & set(second), "no image is in both"

    def at(theta, rows):
        out = jax.vmap(lambda x: BLUR.apply(theta, x))(jnp.asarray(images[rows]))
        return np.asarray(out).reshape(len(rows), -1)

    for i, j in ((0, 1), (1, 3), (0, 4), (3, 4)):
        expected = regularised_cost(at(LEVELS[i], first), at(LEVELS[j], second))
        assert found.matrix[i, j] == pytest.approx(np.sqrt(expected), rel=1e-6)
        assert found.matrix[j, i] == found.matrix[i, j]


def plain_path(distances, epsilon):
    """Dijkstra by hand."""
    size, heap, done = len(distances), [(0.0, 0, (0,))], set()
    while heap:
        length, node, path = heapq.heappop(heap)
        if node == size - 1:
            return path
        if node in done:
            continue
        done.add(node)
        for to in range(node + 1, size):
            if distances[node, to] <= epsilon:
                heapq.heappush(heap, (length + distances[node, to], to, (*path, to)))
    return None


@pytest.mark.parametrize("num_points", [3, 6, 11])
def test_epsilon_is_tuned_until_the_path_has_so_many_nodes(num_points):
    """On points of a plane, whose distances obey the triangle inequality strictly."""
    t = np.linspace(0, 1, 40)
    points = np.stack([t, 0.3 * np.sin(5 * t) + 0.5 * t**2], axis=1)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    path, epsilon = tuned_path(distances, num_points)
    assert len(path) == num_points and path == plain_path(distances, epsilon)
    # Every epsilon with so many nodes allows this number; a much smaller one does not.
    assert len(plain_path(distances, 0.8 * epsilon)) > num_points


def test_the_nearest_number_where_no_epsilon_leaves_it():
    """Equal steps of 1: whatever epsilon is, 11 nodes in steps of 1, 2, 3 or 5."""
    place = np.arange(11.0)
    distances = np.abs(place[:, None] - place[None]) ** 0.9
    assert len(tuned_path(distances, 11)[0]) == 11
    assert len(tuned_path(distances, 9)[0]) in (6, 11)


def test_the_schedule_is_linear_between_the_nodes_of_the_path(data, key):
    levels = np.geomspace(0.4, 4.0, 12)
    metric = UnpairedSinkhorn(0.3)
    found = appendix_c_schedule(
        BLUR, levels, data, num_points=4, metric=metric, start=0.2, key=key
    )
    assert found.path == plain_path(np.triu(found.distances), found.epsilon)
    assert found.path[0] == 0 and found.path[-1] == 11
    times = np.linspace(0.2, 1.0, len(found.path))
    for t in (0.0, 0.2, 0.37, 0.81, 1.0):
        expected = np.interp(t, times, levels[list(found.path)])
        assert float(found.schedule(t)) == pytest.approx(expected, rel=1e-5)
    assert found.metric is metric and found.kind == "estimate"


@pytest.mark.slow
def test_different_images_differ_at_one_level_already(data, key):
    """Why neighbouring levels are not resolved: the floor of the distances.

    Two levels that are equal to 1 % are as far apart as two levels that are a factor of
    1.25 apart, to a few per cent; the exact distances differ by an order of magnitude.
    """
    levels = np.array([1.0, 1.01, 1.25])
    found = UnpairedSinkhorn(0.5).distances(BLUR, levels, data, key=key).matrix
    assert found[0, 2] == pytest.approx(found[0, 1], rel=0.1)
    moved = [
        np.sqrt(np.mean(np.sum((a - b) ** 2, axis=(1, 2, 3))))
        for a, b in (
            [np.asarray(jax.vmap(lambda x, t=t: BLUR.apply(t, x))(data)) for t in pair]
            for pair in ((1.0, 1.01), (1.0, 1.25))
        )
    ]
    assert moved[1] > 10 * moved[0] and found[0, 1] > 2 * moved[1]


def test_mistakes_are_named(as_a_user, data, key):
    with pytest.raises(ValueError, match=r"fraction=0\.6.*no image in common"):
        UnpairedSinkhorn(0.6)
    with pytest.raises(ValueError, match="a slice of 1"):
        UnpairedSinkhorn(0.1).distances(BLUR, LEVELS, data[:10], key=key)
    with pytest.raises(ValueError, match=r"key=jax\.random\.key"):
        UnpairedSinkhorn().distances(BLUR, LEVELS, data)
    with pytest.raises(ValueError, match="`num_points=9`; expected 2 to 5"):
        appendix_c_schedule(BLUR, LEVELS, data, num_points=9, key=key)
    with pytest.raises(ValueError, match="not finite"):
        appendix_c_schedule(BLUR, LEVELS, data * np.nan, num_points=3, key=key)

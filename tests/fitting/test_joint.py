"""Joint schedules against brute force, the Bures formula and a straight line."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.optimize
import scipy.spatial.distance

import softsde as ss
from softsde.corruptions import Fade, FunctionCorruption, HeatBlur, Identity
from softsde.fitting import _joint, joint_schedule
from softsde.fitting._noisy_nodes import sinkhorn_nodes

LEVELS = np.array([0.1, 0.5, 0.9, 1.6])
SIGMAS = np.array([0.05, 0.2, 0.6])


@pytest.fixture
def data():
    rng = np.random.default_rng(11)
    return rng.normal(size=(50, 4, 4, 1)).cumsum(axis=1) + 1.5


def distances(metric, corruption, data, levels=LEVELS, sigmas=SIGMAS):
    return _joint._METRICS[metric](corruption, levels, sigmas, data)


def bures(mean_a, cov_a, mean_b, cov_b):
    """W2 of two Gaussians by matrix square roots, commuting or not."""
    root = scipy.linalg.sqrtm(cov_a).real
    cross = scipy.linalg.sqrtm(root @ cov_b @ root).real
    squared = np.sum((mean_a - mean_b) ** 2)
    return np.sqrt(squared + np.trace(cov_a + cov_b - 2 * cross))


def dense(corruption, theta, shape):
    eye = jnp.eye(int(np.prod(shape)))
    columns = jax.vmap(lambda e: corruption.apply(theta, e.reshape(shape)))(eye)
    return np.asarray(columns).reshape(len(eye), -1).T


@pytest.mark.parametrize("diagonal", [True, False])
def test_gaussian_distances_are_bures_and_else_below(x64, data, diagonal):
    heat = HeatBlur((4, 4, 1))
    flat = data.reshape(len(data), -1)
    if diagonal:
        # Data whose coordinates in the basis of the blur are uncorrelated exactly:
        # signs of an orthogonal array times a scale each.
        signs = scipy.linalg.hadamard(32)[:, 1:17].astype(float)
        z = 2.0 + signs * np.linspace(0.2, 3.0, 16)
        flat = np.asarray(
            jax.vmap(heat.from_basis)(jnp.asarray(z.reshape(-1, 4, 4, 1)))
        )
        flat = flat.reshape(32, 16)
    found = distances("gaussian", heat, flat.reshape(-1, 4, 4, 1))
    covariance = np.cov(flat, rowvar=False, bias=True)
    laws = [
        (c @ flat.mean(0), c @ covariance @ c.T + sigma**2 * np.eye(16))
        for c in (dense(heat, theta, (4, 4, 1)) for theta in LEVELS)
        for sigma in SIGMAS
    ]
    for a, b in [(0, 1), (0, 5), (2, 9), (4, 11), (3, 8)]:
        exact = bures(*laws[a], *laws[b])
        if diagonal:
            assert found[a, b] == pytest.approx(exact, rel=1e-6)
        else:
            assert 0 < found[a, b] < exact


def test_principal_directions_are_exact_where_only_noise_and_scale_change(x64, data):
    # Multiples of the identity keep the eigenvectors of any covariance.
    flat = data.reshape(len(data), -1)
    levels = np.array([0.0, 0.4, 0.7])
    found = distances("gaussian", Fade(), flat, levels)
    covariance, mean = np.cov(flat, rowvar=False, bias=True), flat.mean(0)
    laws = [
        ((1 - v) * mean, (1 - v) ** 2 * covariance + s**2 * np.eye(16))
        for v in levels
        for s in SIGMAS
    ]
    for a, b in itertools.combinations(range(9), 2):
        assert found[a, b] == pytest.approx(bures(*laws[a], *laws[b]), rel=1e-6)


def test_the_two_metrics_bracket_the_exact_assignment(x64):
    """On the empirical law itself, with noise drawn once for each point."""
    rng = np.random.default_rng(2)
    data = rng.exponential(size=(500, 2)) @ np.array([[2.0, 0.7], [0.0, 0.5]])
    levels, sigmas = np.array([0.0, 0.5]), np.array([0.1, 0.8])
    low = distances("gaussian", Fade(), data, levels, sigmas)
    high = distances("coupling", Fade(), data, levels, sigmas)

    def draw(node):
        level, sigma = levels[node // 2], sigmas[node % 2]
        return (1 - level) * data + sigma * rng.normal(size=data.shape)

    for a, b in [(0, 3), (0, 1), (0, 2), (2, 3)]:
        cost = scipy.spatial.distance.cdist(draw(a), draw(b), "sqeuclidean")
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        exact = np.sqrt(cost[rows, columns].mean())
        # Of 500 points the assignment is too long by the order of 500^(-1/2).
        assert low[a, b] * 0.95 < exact < high[a, b] * 1.05
    # And they differ, by noise that hides under the data.
    assert low[0, 1] < 0.6 * high[0, 1]


def test_coupling_distances_are_the_mean_cost(x64, data):
    heat = HeatBlur((4, 4, 1))
    found = distances("coupling", heat, data)
    flat = data.reshape(len(data), -1)
    blurred = [flat @ dense(heat, theta, (4, 4, 1)).T for theta in LEVELS]
    for a, b in [(0, 4), (1, 11), (3, 3), (5, 8)]:
        moved = np.mean(np.sum((blurred[a // 3] - blurred[b // 3]) ** 2, axis=1))
        noise = 16 * (SIGMAS[a % 3] - SIGMAS[b % 3]) ** 2
        assert found[a, b] == pytest.approx(np.sqrt(moved + noise), abs=1e-9)


@pytest.mark.parametrize("metric", ["gaussian", "coupling"])
@pytest.mark.parametrize("num_points, slack", [(2, 0.0), (4, 0.0), (4, 0.3), (6, 0.1)])
def test_the_path_is_the_best_of_all(x64, data, metric, num_points, slack):
    heat = HeatBlur((4, 4, 1))
    found = joint_schedule(
        heat,
        LEVELS,
        SIGMAS,
        data,
        num_points=num_points,
        metric=metric,
        slack=slack,
    )
    d = distances(metric, heat, data).reshape(4, 3, 4, 3)
    nodes = list(itertools.product(range(4), range(3)))
    every = []
    for middle in itertools.combinations(nodes[1:-1], num_points - 2):
        path = (nodes[0], *middle, nodes[-1])
        if all(b[1] >= a[1] for a, b in itertools.pairwise(path)):
            steps = [d[a + b] for a, b in itertools.pairwise(path)]
            every.append((max(steps), np.sum(np.square(steps))))
    reach = (1 + slack) * min(every)[0]
    least = min(energy for longest, energy in every if longest <= reach)
    assert len(found.path) == num_points
    assert np.sum(found.steps**2) == pytest.approx(least)
    assert found.epsilon == found.steps.max() <= reach
    indices = np.array(found.path)
    assert np.all(np.diff(indices, axis=0) >= 0)
    np.testing.assert_allclose(found.levels.levels, LEVELS[indices[:, 0]])
    np.testing.assert_allclose(found.noise.levels, SIGMAS[indices[:, 1]])


def test_the_path_of_a_gaussian_is_a_straight_line(x64):
    """In the plane of mean and standard deviation, in which W2 is Euclid's distance."""
    m, s = 3.0, 1.0
    data = m + s * np.array([[-1.0], [1.0]])
    levels, sigmas = np.linspace(0, 1, 46), np.linspace(0.05, 2.0, 40)
    found = joint_schedule(Fade(), levels, sigmas, data, num_points=12)
    indices = np.array(found.path)
    kept, sigma = 1 - levels[indices[:, 0]], sigmas[indices[:, 1]]
    place = np.stack([m * kept, np.hypot(s * kept, sigma)])
    first, last = place[:, 0], place[:, -1]
    length = np.linalg.norm(last - first)
    np.testing.assert_allclose(
        found.steps, np.linalg.norm(np.diff(place, axis=1), axis=0), rtol=1e-6
    )
    # The length is of second order in what the path misses of the line, and the longest
    # step is longer than need be by the slack and the spacing of the grid, 0.05.
    assert length <= found.steps.sum() < 1.015 * length
    assert found.epsilon < 1.05 * (length / 11 + 0.05)
    assert found.steps.min() > 0.8 * length / 11
    # Noise first, as the paper has it, is a detour by way of this corner.
    corner = np.array([m, np.hypot(s, 2.0)])
    detour = np.linalg.norm(corner - first) + np.linalg.norm(corner - last)
    assert found.steps.sum() < 0.8 * detour


def test_it_makes_a_process(x64, data):
    heat = HeatBlur((4, 4, 1))
    found = joint_schedule(heat, LEVELS, SIGMAS, data, num_points=4, start=0.25)
    process = ss.Process(heat, found.levels, found.noise)
    for t in (0.0, 0.25):
        assert float(process.level(t)) == pytest.approx(0.1)
        assert float(process.sigma(t)) == pytest.approx(0.05)
    assert float(process.sigma(1.0)) == pytest.approx(0.6)
    assert float(process.level(1.0)) == pytest.approx(1.6)


def test_a_user_defined_metric(x64, data):
    # Only the noise counts, so that it rises evenly whatever the level does.
    def metric(corruption, levels, sigmas, samples):
        assert isinstance(corruption, Identity) and len(samples) == len(data)
        place = np.tile(sigmas, len(levels))
        return np.abs(place[:, None] - place[None])

    sigmas = np.linspace(0.1, 0.9, 9)
    found = joint_schedule(
        Identity(), LEVELS, sigmas, data, num_points=5, metric=metric
    )
    np.testing.assert_allclose(found.noise.levels, np.linspace(0.1, 0.9, 5))


def test_any_function_may_corrupt(x64, data):
    """Without a basis of its own, and without symmetry: still below the coupling."""
    roll = FunctionCorruption(
        lambda theta, x: (1 - theta) * x + theta * jnp.roll(x, 1, axis=0), (4, 4, 1)
    )
    levels = np.array([0.0, 0.2, 0.5])
    low = distances("gaussian", roll, data, levels)
    high = distances("coupling", roll, data, levels)
    assert np.all(low <= high + 1e-6)


def test_an_unknown_metric_is_refused_with_those_that_there_are(as_a_user, data):
    with pytest.raises(ValueError, match="metric='bures'`; expected 'gaussian', 'c"):
        joint_schedule(HeatBlur((4, 4, 1)), LEVELS, SIGMAS, data, metric="bures",
                       num_points=3)  # fmt: skip


def test_mistakes_are_named(data):
    data = np.float32(data)
    heat = HeatBlur((4, 4, 1))
    call = lambda v=LEVELS, s=SIGMAS, d=data, **k: joint_schedule(
        heat, v, s, d, **({"num_points": 3} | k)
    )
    with pytest.raises(ValueError, match="strictly increasing `levels`"):
        call(LEVELS[::-1])
    with pytest.raises(ValueError, match="strictly increasing `sigmas`"):
        call(s=SIGMAS[::-1])
    with pytest.raises(ValueError, match="positive `sigmas`, got 0 first"):
        call(s=np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match=r"num_points=7.*expected 2 to 6"):
        call(num_points=7)
    with pytest.raises(ValueError, match="no data"):
        call(d=data[:0])
    with pytest.raises(ValueError, match="not finite"):
        call(d=data * np.float32(np.nan))
    with pytest.raises(ValueError, match="10000 nodes"):
        call(np.linspace(0, 1, 100), np.linspace(0.1, 1, 100))
    with pytest.raises(ValueError, match=r"shape \(3, 3\).*expected \(12, 12\)"):
        call(metric=lambda *_: np.zeros((3, 3)))
    with pytest.raises(ValueError, match="not finite: is the data"):
        call(metric=lambda *_: np.full((12, 12), np.nan))
    with pytest.raises(ValueError, match=r"start=1\.0"):
        call(start=1.0)
    with pytest.raises(ValueError, match=r"slack=-0\.1"):
        call(slack=-0.1)


@pytest.mark.slow
def test_sinkhorn_of_two_nodes_is_the_assignment():
    """Within 5 % of the exact assignment of the same corrupted, noisy samples.

    Neither bound is that close, since the data hides the noise.
    """
    rng = np.random.default_rng(5)
    clean = np.float32(rng.normal(size=(60, 3)) * [3.0, 1.0, 0.3])
    levels, sigmas = np.array([0.1, 0.7]), np.array([0.2, 1.5])
    key = jax.random.key(2)
    got = sinkhorn_nodes(
        ss.fitting.Sinkhorn(fraction=1.0, num_slices=1),
        Fade(),
        levels,
        sigmas,
        clean,
        key,
    )
    eta = np.asarray(jax.random.normal(jax.random.split(key)[0], clean.shape))
    node = lambda i, j: (1 - levels[i]) * clean + sigmas[j] * eta
    for a, b in itertools.combinations([(0, 0), (0, 1), (1, 0), (1, 1)], 2):
        here = got[2 * a[0] + a[1], 2 * b[0] + b[1]]
        if b[1] < a[1]:
            assert here == 0, "the noise never falls"
            continue
        costs = scipy.spatial.distance.cdist(node(*a), node(*b), "sqeuclidean")
        rows, columns = scipy.optimize.linear_sum_assignment(costs)
        exact = np.sqrt(costs[rows, columns].mean())
        assert here == pytest.approx(exact, rel=0.05)


def test_sinkhorn_needs_a_key(data):
    with pytest.raises(ValueError, match="pass `key="):
        joint_schedule(
            Fade(),
            LEVELS / 2,
            SIGMAS,
            data,
            metric=ss.fitting.Sinkhorn(),
            num_points=2,
        )

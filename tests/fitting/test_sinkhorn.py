"""Sinkhorn distances against a Sinkhorn of a few lines, and the exact assignment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
import scipy.special

from softsde.corruptions import GaussianBlur
from softsde.data import digits, to_array
from softsde.fitting import Sinkhorn, transport_schedule
from softsde.fitting._transport import _sinkhorn

BLUR = GaussianBlur((8, 8, 1), 8)
LEVELS = np.geomspace(0.4, 4.0, 10)


@pytest.fixture(scope="module")
def data():
    return to_array(digits(), limit=60)


def corrupted(theta, images, dtype=np.float64):
    out = jax.vmap(lambda x: BLUR.apply(theta, x))(jnp.asarray(images))
    return np.asarray(out, dtype).reshape(len(images), -1)


def costs(x, y):
    return np.square(x[:, None] - y[None]).sum(-1)


def exact(first, second, images):
    cost = costs(corrupted(first, images), corrupted(second, images))
    rows, columns = scipy.optimize.linear_sum_assignment(cost)
    return cost[rows, columns].mean()


def plain_sinkhorn(cost, strength, steps=3000):
    """Dual values and transport costs, by the textbook iteration in logs."""
    n, strength = cost.shape[-1], strength[:, None]
    f = g = np.zeros(cost.shape[:2])
    for _ in range(steps):
        rows = scipy.special.logsumexp((g[:, None] - cost) / strength[..., None], 2)
        f = -strength * (np.log(n) + rows)
        columns = scipy.special.logsumexp(
            (f[..., None] - cost) / strength[..., None], 1
        )
        g = -strength * (np.log(n) + columns)
    plan = np.exp((f[..., None] + g[:, None] - cost) / strength[..., None])
    return f.mean(1) + g.mean(1), (plan * cost).sum((1, 2))


def solve(metric, pairs, images, noise=None):
    images = np.asarray(images)[None]
    noise = np.zeros_like(images) if noise is None else noise[None]
    zeros = np.zeros((len(pairs), 1, 4, images.shape[1]), images.dtype)
    return metric.squared_distances(BLUR, np.asarray(pairs), images, noise, zeros)


PAIRS = np.array([[0.4, 0.6], [0.8, 1.2], [2.5, 3.0], [0.4, 4.0]])


@pytest.mark.slow
@pytest.mark.parametrize("debias", [True, False])
def test_it_is_sinkhorns_algorithm(x64, data, debias):
    images = data[:12].astype(np.float64)
    metric = Sinkhorn(
        regularisation=0.1, debias=debias, threshold=1e-9, max_iterations=3000
    )
    found, _ = solve(metric, PAIRS, images)
    points = [[corrupted(level, images) for level in pair] for pair in PAIRS]
    cross = np.stack([costs(x, y) for x, y in points])
    strength = 0.1 * cross.mean((1, 2))
    truth, primal = plain_sinkhorn(cross, strength)
    for side in (0, 1):
        own = np.stack([costs(pair[side], pair[side]) for pair in points])
        truth = truth - 0.5 * plain_sinkhorn(own, strength)[0]
    np.testing.assert_allclose(found, truth if debias else primal, rtol=1e-6)


@pytest.mark.slow
def test_the_default_is_close_to_the_exact_assignment(data):
    """In single precision, to a hundredth of the squared distance or so."""
    found, potentials = solve(Sinkhorn(), PAIRS, data)
    truth = [exact(*pair, data) for pair in PAIRS]
    np.testing.assert_allclose(found, truth, rtol=0.015)
    # From the potentials of a neighbour the same comes out, to the threshold.
    again, _ = Sinkhorn().squared_distances(
        BLUR, 1.02 * PAIRS, data[None], np.zeros_like(data[None]), potentials
    )
    truth = [exact(*pair, data) for pair in 1.02 * PAIRS]
    np.testing.assert_allclose(again, truth, rtol=0.015)


@pytest.mark.slow
def test_side_by_side_is_one_by_one(data):
    one, _ = solve(Sinkhorn(batch_size=1), PAIRS, data)
    side, _ = solve(Sinkhorn(batch_size=3), PAIRS, data)
    np.testing.assert_allclose(side, one, rtol=1e-4)


def test_noise_of_one_draw_moves_nobody(data):
    """It adds to both sides the same, so that a large draw leaves the identity."""
    noise = 3 * np.random.default_rng(0).normal(size=data.shape).astype(np.float32)
    found, _ = solve(Sinkhorn(), PAIRS, data, noise)
    moves = [corrupted(a, data) - corrupted(b, data) for a, b in PAIRS]
    truth = [np.square(move).sum(-1).mean() for move in moves]
    np.testing.assert_allclose(found, truth, rtol=0.02)


METRIC = Sinkhorn(fraction=1.0, num_slices=1)


def schedule(data, metric=METRIC, **options):
    options = {"num_points": 5, "key": jax.random.key(0), **options}
    return transport_schedule(BLUR, LEVELS, data, metric=metric, **options)


@pytest.fixture(scope="module")
def result(data):
    return schedule(data)


@pytest.mark.slow
def test_both_metrics_choose_the_same_levels(data, result):
    closed = schedule(data, "brenier")
    assert result.kind == "estimate"
    times = np.linspace(0, 1, 201, dtype=np.float32)
    curves = [np.asarray(jax.vmap(r.schedule)(times)) for r in (closed, result)]
    assert np.abs(curves[0] - curves[1]).max() <= 0.02 * (LEVELS[-1] - LEVELS[0])
    assert result.epsilon == pytest.approx(closed.epsilon, rel=0.02)
    assert result.length == pytest.approx(closed.length, rel=0.02)
    assert len(result.path) == 5
    # And on that path the squared distances are close to the exact ones.
    for i, j in zip(result.path, result.path[1:], strict=False):
        truth = exact(LEVELS[i], LEVELS[j], data)
        assert result.distances[i, j] ** 2 == pytest.approx(truth, rel=0.02)


@pytest.mark.slow
def test_only_pairs_that_a_path_can_use_are_computed(data, result):
    """Pairs left out are further than the longest step, and the path is the best."""
    everything = schedule(data, num_points=2)
    full = everything.distances
    assert np.isfinite(full).all()
    left_out = np.isnan(result.distances)
    assert left_out.any()
    assert (full[left_out] > result.epsilon).all()
    np.testing.assert_allclose(
        result.distances[~left_out], full[~left_out], rtol=5e-3, atol=1e-6
    )


@pytest.mark.slow
def test_the_key_decides_all(data):
    metric = Sinkhorn(fraction=0.5, num_slices=2)
    one, same = schedule(data, metric), schedule(data, metric)
    other = schedule(data, metric, key=jax.random.key(1))
    np.testing.assert_array_equal(one.distances, same.distances)
    assert not np.array_equal(one.distances, other.distances, equal_nan=True)


@pytest.mark.slow
def test_what_was_cut_short_goes_on(data, result, tmp_path, monkeypatch):
    """To the last bit, and without computing anything twice."""
    file = tmp_path / "folder" / "distances.npz"
    cached = Sinkhorn(fraction=1.0, num_slices=1, cache=file)
    save, calls = _sinkhorn.save_state, []

    def cut_short(*arguments):
        save(*arguments)
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(_sinkhorn, "save_state", cut_short)
    with pytest.raises(KeyboardInterrupt):
        schedule(data, cached)
    monkeypatch.setattr(_sinkhorn, "save_state", save)
    assert [path.name for path in file.parent.iterdir()] == ["distances.npz"]

    solved = []
    solve_pairs = _sinkhorn._solve_pairs

    def counted(settings, corruption, pairs, wanted, *rest):
        solved.extend(map(tuple, pairs[wanted]))
        return solve_pairs(settings, corruption, pairs, wanted, *rest)

    monkeypatch.setattr(_sinkhorn, "_solve_pairs", counted)
    resumed = schedule(data, cached)
    np.testing.assert_array_equal(resumed.distances, result.distances)
    assert resumed.path == result.path
    near = {(i, i + k) for k in (1, 2) for i in range(len(LEVELS) - k)}
    near = {tuple(np.float32(LEVELS[list(pair)])) for pair in near}
    assert solved and not near & set(solved)

    solved.clear()
    schedule(data, cached)
    assert not solved


def test_a_cache_of_something_else_is_refused(data, tmp_path):
    file = tmp_path / "distances.npz"
    metric = Sinkhorn(fraction=0.5, num_slices=2, cache=file)
    schedule(data, metric)
    whole = file.read_bytes()
    with pytest.raises(ValueError, match="written for another corruption"):
        schedule(data[:50], metric)
    with pytest.raises(ValueError, match="written for another corruption"):
        schedule(data, metric, key=jax.random.key(5))
    for damage in (whole[: len(whole) // 2], b"", b"no archive"):
        file.write_bytes(damage)
        with pytest.raises(ValueError, match=r"damaged.*Delete it"):
            schedule(data, metric)
        assert file.read_bytes() == damage


def test_mistakes_are_named(data):
    for name, value in (("num_slices", 0), ("max_iterations", 0), ("batch_size", 0)):
        with pytest.raises(ValueError, match=f"{name}=0"):
            Sinkhorn(**{name: value})
    with pytest.raises(ValueError, match=r"fraction=1\.5"):
        Sinkhorn(fraction=1.5)
    with pytest.raises(ValueError, match="`regularisation` > 0"):
        Sinkhorn(regularisation=0.0)
    with pytest.raises(ValueError, match="`threshold` > 0"):
        Sinkhorn(threshold=-1.0)
    with pytest.raises(ValueError, match="`sigma` >= 0"):
        Sinkhorn(sigma=-1.0)
    with pytest.raises(ValueError, match="pass `key="):
        schedule(data, key=None)
    with pytest.raises(ValueError, match="a slice of 1; a slice needs at least 2"):
        schedule(data, Sinkhorn(fraction=0.02))


@pytest.mark.slow
def test_both_metrics_choose_the_same_levels_of_digits():
    """The paper's way, on slices, beside the closed form on everything."""
    data = to_array(digits(), limit=1500)
    levels = np.geomspace(0.2, 4.0, 64)
    closed = transport_schedule(BLUR, levels, data, num_points=16)
    metric = Sinkhorn(fraction=0.2, num_slices=2)
    paper = transport_schedule(
        BLUR, levels, data, num_points=16, metric=metric, key=jax.random.key(0)
    )
    assert len(paper.path) == 16
    times = np.linspace(0, 1, 501, dtype=np.float32)
    curves = [np.asarray(jax.vmap(r.schedule)(times)) for r in (closed, paper)]
    assert np.abs(curves[0] - curves[1]).max() <= 0.02 * (levels[-1] - levels[0])

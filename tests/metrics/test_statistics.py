import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from softsde.metrics import (
    FeatureStatistics,
    FunctionFeatures,
    PixelFeatures,
    reference_statistics,
)
from softsde.metrics._statistics import _lowest, _random

ANY = PixelFeatures((-np.inf, np.inf))


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(203, 2, 3, 1)).astype(np.float32)


def assert_equal(a, b, rtol=1e-10):
    assert a.count == b.count
    np.testing.assert_allclose(a.moments.mean, b.moments.mean, rtol=rtol)
    np.testing.assert_allclose(a.moments.scatter, b.moments.scatter, rtol=rtol)


def test_moments_are_those_of_all_images(images):
    rows = images.reshape(203, -1).astype(float)
    statistics = FeatureStatistics.of(ANY, images, batch_size=7, blocks=4)
    np.testing.assert_allclose(statistics.moments.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(
        statistics.moments.covariance, np.cov(rows.T), rtol=1e-12
    )
    assert sorted(block.count for block in statistics.blocks) == [50, 51, 51, 51]


def test_shuffled_chunks(images):
    whole = FeatureStatistics.of(ANY, images)
    order = np.random.default_rng(1).permutation(203)
    chunks = np.split(images[order], [5, 6, 100])
    streamed = FeatureStatistics.of(ANY, iter(chunks), batch_size=3)
    assert_equal(streamed, whole)
    assert streamed.images == whole.images
    # Another image, another hash.
    other = FeatureStatistics.of(ANY, np.concatenate([images[1:], images[1:2]]))
    assert other.images != whole.images


def test_shares_add_up_to_the_whole(images):
    whole = FeatureStatistics.of(ANY, images, keep=60, blocks=5, seed=3)
    parts = [
        FeatureStatistics.of(
            ANY, images[i:j], keep=60, blocks=5, seed=3, start=i, batch_size=4
        )
        for i, j in ((0, 90), (90, 91), (91, 203))
    ]
    for total in (parts[0] + parts[1] + parts[2], parts[2] + parts[0] + parts[1]):
        assert_equal(total, whole)
        for ours, theirs in zip(total.blocks, whole.blocks, strict=True):
            assert ours.count == theirs.count
            np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-10)
        np.testing.assert_array_equal(total.kept, whole.kept)
        assert (total.images, total.key) == (whole.images, whole.key)
    with pytest.raises(ValueError, match="the same features, `keep`"):
        parts[0] + FeatureStatistics.of(ANY, images, keep=61, blocks=5, seed=3)


def test_kept_features_are_a_uniform_sample():
    # Each of 40 images is kept with probability 10 / 40, and by its place: the first
    # half of what is kept is as uniform.
    images = np.arange(40, dtype=np.float32)[:, None]
    counts, first = np.zeros(40), np.zeros(40)
    for seed in range(600):
        priorities = _random(np.arange(40, dtype=np.uint64), seed, 0)
        kept, _ = _lowest([images], [priorities], 10)
        assert len(set(kept[:, 0])) == 10
        counts[kept[:, 0].astype(int)] += 1
        first[kept[:5, 0].astype(int)] += 1
    # Binomial numbers; the sum of 40 squares has mean 40 and deviation 9.
    for found, p in ((counts, 1 / 4), (first, 1 / 8)):
        chi = np.sum((found - 600 * p) ** 2) / (600 * p * (1 - p))
        assert abs(chi - 40) < 4 * 9


def test_blocks_are_balanced_for_data_in_order():
    # Classes in turn, and classes one after the other: no block is of one class.
    labels = np.concatenate([np.arange(200) % 10, np.repeat(np.arange(10), 20)])
    images = labels[:, None].astype(np.float32)
    statistics = FeatureStatistics.of(ANY, images, blocks=10)
    means = np.array([block.mean[0] for block in statistics.blocks])
    # 40 draws from 0 ... 9 have a mean of 4.5 with a deviation of 0.45.
    assert means.std(ddof=1) < 2 * 0.45
    assert means.std(ddof=1) > 0.1


def test_a_file_brings_all_back(images, tmp_path):
    statistics = FeatureStatistics.of(ANY, images, keep=50)
    statistics.save(tmp_path / "a.npz")
    loaded = FeatureStatistics.load(tmp_path / "a.npz")
    assert_equal(loaded, statistics, rtol=0)
    np.testing.assert_array_equal(loaded.kept, statistics.kept)
    assert loaded.space == statistics.space
    assert loaded.key == statistics.key
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:300])
    with pytest.raises(ValueError, match="no statistics of this version"):
        FeatureStatistics.load(tmp_path / "b.npz")


class Counted(eqx.Module):
    weight: jax.Array
    calls: list = eqx.field(static=True)

    def __call__(self, x):
        jax.debug.callback(lambda: self.calls.append(1))
        return self.weight * jnp.ravel(x)


class Calls(list):
    """A list that is static: equal to, and hashed like, any other of its kind."""

    def __hash__(self):
        return 0

    def __eq__(self, other):
        return isinstance(other, Calls)

    def __repr__(self):
        return "Calls"


def test_reference_is_computed_once(images, tmp_path):
    calls = Calls()
    space = lambda w: FunctionFeatures(
        Counted(jnp.asarray(w, jnp.float32), calls),
        name="counted / 1",
        value_range=(-np.inf, np.inf),
    )

    def compute(weight, images, **options):
        calls.clear()
        found = reference_statistics(space(weight), images, cache=tmp_path, **options)
        jax.effects_barrier()
        return found, bool(calls)

    first, computed = compute(1.0, images)
    assert computed
    again, computed = compute(1.0, images.copy())
    assert not computed
    assert_equal(again, first, rtol=0)
    assert again.key == first.key
    # Other weights, images or options, however little they differ.
    nudged = images.copy()
    nudged[77, 1, 1] += 1e-4
    for arguments in (
        {"weight": 1.001, "images": images},
        {"weight": 1.0, "images": nudged},
        {"weight": 1.0, "images": images, "blocks": 5},
        {"weight": 1.0, "images": images, "seed": 1},
    ):
        found, computed = compute(**arguments)
        assert computed and found.key != first.key
    # A damaged file is replaced.
    for path in tmp_path.iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    repaired, computed = compute(1.0, images)
    assert computed
    assert_equal(repaired, first, rtol=0)
    assert not compute(1.0, images)[1]


def test_unknown_weights_are_not_cached(images, tmp_path):
    space = FunctionFeatures(
        lambda x: jnp.ravel(x), name="x", value_range=(-np.inf, np.inf)
    )
    reference_statistics(space, images, cache=tmp_path)
    assert not list(tmp_path.iterdir())

import numpy as np
import pytest
import scipy.spatial

from softsde.metrics import nearest_neighbours


@pytest.mark.parametrize("k", [1, 2, 5, 40])
@pytest.mark.parametrize("chunk", [1, 7, 40, 1000])
def test_against_a_tree(k, chunk):
    rng = np.random.default_rng(0)
    queries, data = rng.normal(size=(23, 6)), rng.normal(size=(40, 6))
    indices, distances = nearest_neighbours(queries, data, k=k, chunk=chunk)
    expected_distances, expected = scipy.spatial.cKDTree(data).query(
        queries, k=range(1, k + 1)
    )
    np.testing.assert_array_equal(indices, expected)
    np.testing.assert_allclose(distances, expected_distances, rtol=1e-13)


def test_images_and_self():
    rng = np.random.default_rng(1)
    images = rng.random((50, 5, 4, 3), dtype=np.float32)
    indices, distances = nearest_neighbours(images, images, k=2, chunk=16)
    np.testing.assert_array_equal(indices[:, 0], np.arange(50))
    np.testing.assert_array_equal(distances[:, 0], 0)
    other = images[indices[:, 1]].astype(np.float64) - images
    np.testing.assert_allclose(
        distances[:, 1], np.sqrt((other**2).sum((1, 2, 3))), rtol=1e-13
    )


def test_tiny_distances_keep_their_digits():
    # |x|^2 is 1e8 here and the squared distance 1e-10: a matrix product alone would
    # give nothing but rounding error.
    data = np.full((3, 100), 1000.0) * np.array([[1], [2], [3]])
    queries = data.copy()
    queries[:, 7] += 1e-5
    indices, distances = nearest_neighbours(queries, data)
    np.testing.assert_array_equal(indices[:, 0], [0, 1, 2])
    np.testing.assert_allclose(distances[:, 0], 1e-5, rtol=1e-6)


def test_ties_are_in_the_order_of_the_data():
    # Bytes: distances are integers, hence exact.
    data = np.array([[9], [1], [3], [1], [3]], np.uint8)
    for chunk in (1, 2, 5):
        indices, distances = nearest_neighbours(
            np.array([[2]], np.uint8), data, k=4, chunk=chunk
        )
        np.testing.assert_array_equal(indices, [[1, 2, 3, 4]])
        np.testing.assert_array_equal(distances, [[1, 1, 1, 1]])


def test_memory_maps(tmp_path):
    rng = np.random.default_rng(2)
    data = rng.random((30, 4))
    np.save(tmp_path / "data.npy", data)
    mapped = np.load(tmp_path / "data.npy", mmap_mode="r")
    for a, b in zip(
        nearest_neighbours(data[:5] + 0.1, mapped, chunk=8),
        nearest_neighbours(data[:5] + 0.1, data),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


def test_refusals():
    data = np.zeros((4, 3))
    with pytest.raises(ValueError, match="`k` is 5, but `data` has 4 members"):
        nearest_neighbours(data, data, k=5)
    with pytest.raises(ValueError, match="`k` is 0"):
        nearest_neighbours(data, data, k=0)
    with pytest.raises(ValueError, match="`chunk` is 0"):
        nearest_neighbours(data, data, chunk=0)
    with pytest.raises(ValueError, match="2 features a row and `data` has 3"):
        nearest_neighbours(data[:, :2], data)
    with pytest.raises(TypeError, match=r"`queries` is float64 and `data` is uint8"):
        nearest_neighbours(data, data.astype(np.uint8))

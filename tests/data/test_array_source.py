"""Arrays of one's own: accepted as they are, or refused with a way out."""

import numpy as np
import pytest

import softsde as ss

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(6, 4, 5), (6, 4, 5, 1), (6, 4, 5, 3)])
def test_items(dtype, shape):
    images = RNG.integers(0, 256, shape).astype(np.uint8)
    if dtype != np.uint8:
        images = (images / 255).astype(dtype)
    source = ss.data.ArraySource(images, np.arange(6))
    assert len(source) == 6
    assert source.shape == (4, 5, shape[3] if len(shape) == 4 else 1)
    for i in range(6):
        expected = images[i].reshape(source.shape)
        if dtype != np.uint8:
            expected = expected.astype(np.float32)
        assert source[i]["image"].dtype == expected.dtype
        np.testing.assert_array_equal(source[i]["image"], expected)
        assert source[i]["label"] == i


def test_the_ends_of_the_range_belong_to_it():
    ss.data.ArraySource(np.stack([np.zeros((2, 2)), np.ones((2, 2))]))


IMAGES = RNG.random((4, 3, 3, 1))


def _with(value):
    images = IMAGES.copy()
    images[2, 1, 1, 0] = value
    return images


@pytest.mark.parametrize(
    "images, error, message",
    [
        (_with(np.nan), ValueError, "1 of 4 images hold NaN.*isfinite"),
        (_with(np.inf), ValueError, "1 of 4 images hold NaN or infinite"),
        (_with(-0.5), ValueError, r"\[-0.5, .*\(images \+ 1\) / 2"),
        (IMAGES * 255, ValueError, r"must be in \[0, 1\].*images / 255"),
        (IMAGES * 3000 - 5, ValueError, r"must be in \[0, 1\].*Rescale"),
        (IMAGES.astype(np.int64), TypeError, r"int64.*astype\(np.uint8\)"),
        (IMAGES > 0.5, TypeError, r"dtype bool.*astype\(np.float32\)"),
        (IMAGES.astype(np.complex64), TypeError, "dtype complex64"),
        (np.array([[["a"]]]), TypeError, "got dtype <U1"),
        (np.array([[[None]]]), TypeError, "got dtype object"),
        (IMAGES[0, :, :, 0], ValueError, r"got \(3, 3\).*image\[None\]"),
        (IMAGES.reshape(4, 9), ValueError, r"got \(4, 9\).*reshape"),
        (IMAGES[None], ValueError, r"got \(1, 4, 3, 3, 1\)"),
        (IMAGES[:0], ValueError, r"no images in an array of shape \(0, 3, 3, 1\)"),
        (np.zeros((5, 3, 32, 32)), ValueError, r"channels-first.*moveaxis"),
    ],
)
def test_refused(images, error, message):
    with pytest.raises(error, match=message):
        ss.data.ArraySource(images)


@pytest.mark.parametrize(
    "labels, error, message",
    [
        (np.arange(3), ValueError, r"4 images need labels of shape \(4,\), got \(3,\)"),
        (np.eye(4), TypeError, "must be integers, got dtype float64.*argmax"),
        (np.array([0, 1, 2, -2]), ValueError, r"got \[-2, 2\]"),
        (np.array([0, 1, 2, 3]), ValueError, r"in \[0, 2\].*got \[0, 3\]"),
    ],
)
def test_labels_refused(labels, error, message):
    with pytest.raises(error, match=message):
        ss.data.ArraySource(IMAGES, labels, class_names=["a", "b", "c"])


def test_npy(tmp_path):
    images = RNG.integers(0, 256, (5, 3, 3), np.uint8)
    np.save(tmp_path / "x.npy", images)
    source = ss.data.ArraySource(tmp_path / "x.npy", [1, 2, 3, 4, 5])
    np.testing.assert_array_equal(source.images[..., 0], images)
    assert [source[i]["label"] for i in range(5)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("name", ["images", "whatever"])
def test_npz(tmp_path, name):
    images = RNG.random((5, 3, 3, 2)).astype(np.float32)
    labels = np.array([3, 1, 4, 1, 5])
    np.savez_compressed(tmp_path / "x.npz", **{name: images, "labels": labels})
    source = ss.data.ArraySource(str(tmp_path / "x.npz"))
    np.testing.assert_array_equal(source.images, images)
    np.testing.assert_array_equal(source.labels, labels)


def test_npz_that_does_not_say_which(tmp_path):
    np.savez(tmp_path / "x.npz", a=IMAGES, b=IMAGES)
    with pytest.raises(ValueError, match=r"which of \['a', 'b'\].*Name it `images`"):
        ss.data.ArraySource(tmp_path / "x.npz")


def test_files_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"x\.npy does not exist"):
        ss.data.ArraySource(tmp_path / "x.npy")
    with pytest.raises(ValueError, match=r"x\.mat is neither \.npy nor \.npz"):
        ss.data.ArraySource(tmp_path / "x.mat")
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"pickle\.npy cannot be read"):
        ss.data.ArraySource(tmp_path / "pickle.npy")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_truncated_files(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    images = RNG.integers(0, 256, (3, 4, 4), np.uint8)
    np.save(path, images) if suffix == ".npy" else np.savez(path, images=images)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=f"x{suffix} cannot be read"):
            ss.data.ArraySource(path)


def test_nothing_is_copied_that_need_not_be():
    images = np.zeros((3, 4, 4, 1), np.float32)
    assert np.shares_memory(ss.data.ArraySource(images).images, images)
    # ... and what is shared cannot be written to through the source.
    with pytest.raises(ValueError, match="read-only"):
        ss.data.ArraySource(images)[0]["image"][0] = 1

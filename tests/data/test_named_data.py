"""Named data sets: where they are looked for, what is said when they are not there,
and, where the real ones are found, that they are the published ones."""

import hashlib
import os
import struct

import numpy as np
import pytest

import softsde as ss


def test_search_order(isolated, mnist_layout, monkeypatch):
    """The nearer place wins: each is filled in turn, from the last to the first."""
    monkeypatch.setenv("SOFTSDE_DATA", os.pathsep.join(["first", "second"]))
    places = [
        ("data/mnist", 3),
        ("system/mnist", 4),
        ("home/.cache/softsde/mnist", 5),
        ("second/MNIST/raw", 6),
        ("first/mnist", 7),
    ]
    for place, size in places:
        mnist_layout(place, num_train=size)
        assert len(ss.data.mnist()) == size
    mnist_layout("elsewhere/mnist", num_train=8)
    assert len(ss.data.mnist(folder="elsewhere")) == 8
    assert len(ss.data.mnist(folder="elsewhere/mnist")) == 8


@pytest.mark.parametrize("zipped", [False, True])
def test_splits(isolated, mnist_layout, zipped):
    arrays = mnist_layout("data/fashion-mnist", zipped=zipped)
    for split in ("train", "test"):
        source = ss.data.fashion_mnist(split)
        images, labels = arrays[split]
        np.testing.assert_array_equal(source.images[..., 0], images)
        np.testing.assert_array_equal(source.labels, labels)
        assert source.class_names is not None
        assert source.class_names[9] == "Ankle boot"
        assert source.num_classes == 10


def test_an_incomplete_folder_is_passed_over(isolated, mnist_layout, monkeypatch):
    monkeypatch.setenv("SOFTSDE_DATA", "first")
    mnist_layout("first/mnist", num_train=3)
    mnist_layout("data/mnist", num_train=5)
    (isolated / "first/mnist/train-labels-idx1-ubyte.gz").unlink()
    assert len(ss.data.mnist()) == 5
    assert len(ss.data.mnist("test")) == 4


def test_not_found(isolated, mnist_layout, monkeypatch):
    monkeypatch.setenv("SOFTSDE_DATA", "first")
    mnist_layout("first/fashion-mnist")
    (isolated / "first/fashion-mnist/train-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        ss.data.fashion_mnist()
    message = str(caught.value)
    assert "first/fashion-mnist: lacks train-labels-idx1-ubyte\n" in message
    for place in ("home/.cache/softsde", "system", "data"):
        assert f"{place}/fashion-mnist: no such folder" in message
    assert "apt-get install dataset-fashion-mnist" in message
    assert "python -m softsde.data.download fashion_mnist" in message
    with pytest.raises(FileNotFoundError) as caught:
        ss.data.mnist()
    assert "apt-get" not in str(caught.value)
    assert "python -m softsde.data.download mnist" in str(caught.value)


def test_a_folder_that_is_given_is_the_only_one_looked_in(isolated, mnist_layout):
    mnist_layout("data/mnist")
    with pytest.raises(FileNotFoundError, match="elsewhere: no such folder") as caught:
        ss.data.mnist(folder="elsewhere")
    assert "data/mnist:" not in str(caught.value)


def test_cifar10(isolated, cifar_records):
    folder = isolated / "data" / "cifar-10-batches-bin"
    folder.mkdir(parents=True)
    labels, images = [], []
    for i in range(1, 6):
        label, image, data = cifar_records(2, seed=i)
        (folder / f"data_batch_{i}.bin").write_bytes(data)
        labels.append(label)
        images.append(image)
    source = ss.data.cifar10()
    np.testing.assert_array_equal(source.labels, np.concatenate(labels))
    np.testing.assert_array_equal(source.images, np.concatenate(images))
    with pytest.raises(FileNotFoundError, match=r"lacks test_batch\.bin"):
        ss.data.cifar10("test")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "cifar10", "digits"])
def test_unknown_split(name):
    with pytest.raises(ValueError, match=r"`split` must be one of.*'valid'"):
        ss.data.load(name, "valid")


def test_digits():
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    bunch = sklearn_datasets.load_digits()
    whole = ss.data.digits("all")
    assert len(whole) == 1797
    assert whole.shape == (8, 8, 1)
    np.testing.assert_array_equal(whole.images[..., 0] * 16, bunch.images)
    np.testing.assert_array_equal(whole.labels, bunch.target)
    train, test = ss.data.digits(), ss.data.digits("test")
    np.testing.assert_array_equal(
        np.concatenate([train.images, test.images]), whole.images
    )
    # A split that lacked a class would make a poor test set.
    assert np.bincount(test.labels).min() >= 20


# The MD5 sums of the unzipped files, as published.
MNIST_MD5 = {
    "train": ("6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624"),
    "test": ("2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637"),
}


def _found(load, split):
    try:
        return load(split)
    except FileNotFoundError as error:
        pytest.skip(f"not on this machine: {str(error).splitlines()[0]}")


@pytest.mark.parametrize("split", ["train", "test"])
def test_real_mnist(split):
    source = _found(ss.data.mnist, split)
    n = len(source)
    images = struct.pack(">IIII", 0x803, n, 28, 28) + source.images.tobytes()
    labels = struct.pack(">II", 0x801, n) + source.labels.astype(np.uint8).tobytes()
    digests = tuple(
        hashlib.md5(data, usedforsecurity=False).hexdigest()
        for data in (images, labels)
    )
    assert digests == MNIST_MD5[split]


@pytest.mark.parametrize("split, per_class", [("train", 6000), ("test", 1000)])
def test_real_fashion_mnist(split, per_class):
    source = _found(ss.data.fashion_mnist, split)
    assert source.shape == (28, 28, 1)
    np.testing.assert_array_equal(np.bincount(source.labels), np.full((10,), per_class))
    if split == "train":
        # The mean and deviation by which everyone normalises it.
        images = ss.data.to_array(source)
        assert abs(images.mean(dtype=np.float64) - 0.2860) < 1e-4
        assert abs(images.std(dtype=np.float64) - 0.3530) < 1e-4

"""`load`: each kind of name and path finds its source."""

import numpy as np
import pytest

import softsde as ss


def test_names(isolated, mnist_layout):
    arrays = mnist_layout("data/fashion-mnist")
    for name in ("fashion_mnist", "fashion-mnist", "Fashion-MNIST"):
        source = ss.data.load(name, "test")
        np.testing.assert_array_equal(source.labels, arrays["test"][1])
        assert source.num_classes == 10


def test_digits_by_name():
    pytest.importorskip("sklearn")
    assert len(ss.data.load("digits", "test")) == 297


def test_idx_folder(isolated, mnist_layout):
    arrays = mnist_layout("mine", num_train=5)
    source = ss.data.load(isolated / "mine")
    np.testing.assert_array_equal(ss.data.to_labels(source), arrays["train"][1])
    # Nothing says what the classes of other people's files are called.
    assert source.class_names is None


def test_idx_file(isolated, mnist_layout):
    mnist_layout("mine", num_train=5)
    source = ss.data.load("mine/train-images-idx3-ubyte.gz")
    assert len(source) == 5
    assert source[0]["label"] == -1


def test_cifar_folder(isolated, cifar_records):
    labels, _, data = cifar_records(3)
    (isolated / "test_batch.bin").write_bytes(data)
    np.testing.assert_array_equal(ss.data.load(isolated, "test").labels, labels)


@pytest.mark.parametrize("suffix", ["npy", "npz"])
def test_array_file(isolated, suffix):
    images = np.random.default_rng(0).random((3, 4, 4, 1)).astype(np.float32)
    save = np.save if suffix == "npy" else np.savez
    save(isolated / f"x.{suffix}", images)
    source = ss.data.load(f"x.{suffix}")
    np.testing.assert_array_equal(ss.data.to_array(source), images)
    with pytest.raises(ValueError, match="is one file and has no split 'test'"):
        ss.data.load(f"x.{suffix}", "test")


def _picture(path, level):
    image_module = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(np.full((6, 6), level, np.uint8)).save(path)


def test_folder_of_pictures(isolated):
    _picture(isolated / "flat" / "a.png", 10)
    source = ss.data.load("flat", size=4)
    assert source.shape == (4, 4, 3)
    assert source[0]["image"].max() == 10
    with pytest.raises(ValueError, match="no split 'test'"):
        ss.data.load("flat", "test", size=4)
    with pytest.raises(ValueError, match="need a common size: pass `size=`"):
        ss.data.load("flat")


def test_folder_of_pictures_with_splits(isolated):
    _picture(isolated / "set" / "train" / "cat" / "a.png", 10)
    _picture(isolated / "set" / "test" / "cat" / "a.png", 20)
    for split, level in (("train", 10), ("test", 20)):
        source = ss.data.load("set", split, size=4)
        assert source.class_names == ("cat",)
        assert source[0]["image"].max() == level


def test_nothing_there(isolated):
    with pytest.raises(FileNotFoundError, match=r"'mnits' is neither.*mean 'mnist'\?"):
        ss.data.load("mnits")
    with pytest.raises(FileNotFoundError, match="'no/such' is neither a data set"):
        ss.data.load("no/such")


def test_a_size_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match=r"`size` is for folders.*`Resize`"):
        ss.data.load("digits", size=16)

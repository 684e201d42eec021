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


def _picture(path, level, shape=(6, 6)):
    image_module = pytest.importorskip("PIL.Image")
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(np.full(shape, level, np.uint8)).save(path)


def test_folder_of_pictures(isolated):
    _picture(isolated / "flat" / "a.png", 10)
    source = ss.data.load("flat", size=4)
    assert source.shape == (4, 4, 1)
    assert source[0]["image"].max() == 10
    assert ss.data.load("flat", size=4, channels=3).shape == (4, 4, 3)
    with pytest.raises(ValueError, match="no split 'test'"):
        ss.data.load("flat", "test", size=4)
    # Squares of one size need no other.
    assert ss.data.load("flat").shape == (6, 6, 1)
    _picture(isolated / "flat" / "b.png", 10, (6, 8))
    with pytest.raises(ValueError, match=r"6x6, 6x8 .*common size: pass `size=`"):
        ss.data.load("flat")


def test_folder_of_pictures_with_splits(isolated):
    _picture(isolated / "set" / "train" / "cat" / "a.png", 10)
    _picture(isolated / "set" / "test" / "cat" / "a.png", 20)
    for split, level in (("train", 10), ("test", 20)):
        source = ss.data.load("set", split, size=4)
        assert source.class_names == ("cat",)
        assert source[0]["image"].max() == level


def test_a_class_that_is_named_like_a_split_is_no_split(isolated):
    """One of five classes in fifteen pictures is called `train`."""
    names = ("boat", "bus", "car", "plane", "train")
    for i, name in enumerate(names):
        for j in range(3):
            _picture(isolated / "set" / name / f"{j}.png", 10 * i + j)
    with pytest.raises(ValueError, match=r"train may be a split or a class.*'classes'"):
        ss.data.load("set")
    source = ss.data.load("set", folders="classes")
    assert len(source) == 15 and source.class_names == names
    assert len(ss.data.load("set", folders="splits")) == 3
    with pytest.raises(ValueError, match="no split 'test'; its subfolders are boat"):
        ss.data.load("set", "test", folders="splits")


def test_a_test_split_alone_is_refused(isolated):
    _picture(isolated / "set" / "test" / "a.png", 10)
    with pytest.raises(ValueError, match="test may be a split or a class"):
        ss.data.load("set")
    with pytest.raises(ValueError, match="no subfolder `train`"):
        ss.data.load("set", folders="splits")


@pytest.mark.parametrize(
    "stored, options",
    [
        (lambda x: x.transpose(0, 3, 1, 2), {"channels_first": True}),
        (lambda x: 2 * x - 1, {"value_range": (-1, 1)}),
        (lambda x: 255 * x, {"value_range": (0, 255)}),
        (lambda x: np.round(255 * x).astype(np.int64), {"value_range": (0, 255)}),
    ],
)
def test_arrays_of_other_layouts_and_ranges(isolated, stored, options):
    images = np.random.default_rng(0).integers(0, 256, (3, 5, 6, 3)) / 255
    images = images.astype(np.float32)
    np.save("x.npy", stored(images))
    with pytest.raises((ValueError, TypeError), match=f"{next(iter(options))}="):
        ss.data.load("x.npy")
    source = ss.data.load("x.npy", **options)
    np.testing.assert_allclose(ss.data.to_array(source), images, atol=1e-6)


def test_options_of_arrays_are_refused_elsewhere():
    with pytest.raises(ValueError, match=r"are for \.npy and \.npz files"):
        ss.data.load("digits", channels_first=True)
    with pytest.raises(ValueError, match="`channels` is for folders"):
        ss.data.load("digits", channels=3)


def test_nothing_there(isolated):
    with pytest.raises(FileNotFoundError, match=r"'mnits' is neither.*mean 'mnist'\?"):
        ss.data.load("mnits")
    with pytest.raises(FileNotFoundError, match="'no/such' is neither a data set"):
        ss.data.load("no/such")


def test_a_size_that_would_be_ignored_is_refused():
    with pytest.raises(ValueError, match=r"`size` is for folders.*`Resize`"):
        ss.data.load("digits", size=16)

"""Packed data sets are the images that were packed, and nothing else passes for one."""

import json

import numpy as np
import pytest

import softsde as ss

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 4, 6, 3), np.uint8)
LABELS = np.arange(11, dtype=np.int32) % 3


def source():
    return ss.data.ArraySource(IMAGES, LABELS, class_names=("a", "b", "c"))


class Corrupt(ss.data.AbstractSource):
    """The images of `source`, some of which cannot be read."""

    labels, class_names, shape = LABELS, None, (4, 6, 3)

    def __init__(self, bad):
        self.bad = bad

    def __len__(self):
        return len(IMAGES)

    def item(self, index):
        if index in self.bad:
            raise ValueError(f"picture-{index}.jpg cannot be read as a picture")
        return {"image": IMAGES[index], "label": int(LABELS[index])}


def test_what_is_packed_comes_back(tmp_path):
    found = ss.data.pack(source(), tmp_path)
    assert found == {"images": 11, "skipped": 0}
    packed = ss.data.PackedSource(tmp_path, verify=True)
    np.testing.assert_array_equal(packed.images, IMAGES)
    np.testing.assert_array_equal(packed.labels, LABELS)
    assert packed.class_names == ("a", "b", "c")
    # NumPy reads the file by itself.
    np.testing.assert_array_equal(np.load(tmp_path / "images.npy"), IMAGES)
    again = ss.data.load(tmp_path)
    np.testing.assert_array_equal(again[3]["image"], IMAGES[3])


def test_floats_are_rounded_to_bytes(tmp_path):
    floats = ss.data.ArraySource(IMAGES.astype(np.float32) / 255)
    ss.data.pack(floats, tmp_path)
    np.testing.assert_array_equal(ss.data.PackedSource(tmp_path).images, IMAGES)


@pytest.mark.parametrize("bad", [(0,), (4, 10), tuple(range(10))])
def test_corrupt_images_are_left_out_and_counted(tmp_path, bad):
    found = ss.data.pack(Corrupt(bad), tmp_path, on_corrupt="skip")
    assert found == {"images": 11 - len(bad), "skipped": len(bad)}
    packed = ss.data.PackedSource(tmp_path, verify=True)
    kept = [i for i in range(11) if i not in bad]
    np.testing.assert_array_equal(packed.images, IMAGES[kept])
    np.testing.assert_array_equal(packed.labels, LABELS[kept])
    about = json.loads((tmp_path / "packed.json").read_text())
    assert about["skipped"] == len(bad)
    assert f"picture-{bad[0]}.jpg" in about["first_skipped"][0]


def test_or_refused(tmp_path, as_a_user):
    ss.data.pack(source(), tmp_path)
    with pytest.raises(ValueError, match=r"picture-4\.jpg"):
        ss.data.pack(Corrupt((4,)), tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no packed\.json.*\.prepare"):
        ss.data.PackedSource(tmp_path)
    with pytest.raises(ValueError, match="None of the 11 images can be read"):
        ss.data.pack(Corrupt(range(11)), tmp_path, on_corrupt="skip")
    with pytest.raises(ValueError, match="'refuse' or 'skip', got 'ignore'"):
        ss.data.pack(source(), tmp_path, on_corrupt="ignore")  # pyright: ignore


def test_a_data_set_that_has_changed(tmp_path):
    ss.data.pack(source(), tmp_path)
    path = tmp_path / "images.npy"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ss.data.PackedSource(tmp_path)
    with pytest.raises(ValueError, match=r"images\.npy is damaged"):
        ss.data.PackedSource(tmp_path, verify=True)
    path.write_bytes(content[:-1])
    with pytest.raises(ValueError, match=r"has \d+ bytes, but packed.json says"):
        ss.data.PackedSource(tmp_path)
    (tmp_path / "packed.json").write_text("{}")
    with pytest.raises(ValueError, match=r"packed\.json cannot be read"):
        ss.data.PackedSource(tmp_path)


def test_splits_are_subfolders(tmp_path):
    ss.data.pack(source(), tmp_path / "train")
    ss.data.pack(ss.data.ArraySource(IMAGES[:2]), tmp_path / "test")
    assert len(ss.data.load(tmp_path)) == 11
    assert len(ss.data.load(tmp_path, "test")) == 2
    with pytest.raises(ValueError, match="no split 'test'"):
        ss.data.load(tmp_path / "train", "test")
    with pytest.raises(ValueError, match="packed in another size than 8"):
        ss.data.load(tmp_path, size=8)


def test_pictures_are_cropped_before_they_are_resized(tmp_path):
    """The middle 4x4 pixels of an 8x6 picture, each of them kept."""
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(1).integers(0, 256, (8, 6, 3), np.uint8)
    image.fromarray(pixels).save(tmp_path / "a.png")
    cut = ss.data.ImageFolderSource(tmp_path, 4, crop=4)
    np.testing.assert_array_equal(cut[0]["image"], pixels[2:6, 1:5])
    with pytest.raises(ValueError, match="6x8 pixels, too few for `crop=7`"):
        ss.data.ImageFolderSource(tmp_path, 4, crop=7)[0]
    with pytest.raises(ValueError, match="`crop` must be at least 1 pixel, got 0"):
        ss.data.ImageFolderSource(tmp_path, 4, crop=0)

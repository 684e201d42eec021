"""Pictures: geometry and grey levels against what they must be, and bad files."""

import numpy as np
import pytest

import softsde as ss

image_module = pytest.importorskip("PIL.Image")


def _save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    image_module.fromarray(np.asarray(array)).save(path, **options)
    return path


def _only(folder, size, **options):
    return ss.data.ImageFolderSource(folder, size, **options)[0]["image"]


def test_classes_and_order(tmp_path):
    grey = np.zeros((4, 4), np.uint8)
    names = ["b/2.png", "b/10.PNG", "a/deep/er/1.png", "a.png", "c/1.bmp", "a/z.png"]
    for name in reversed(names):
        _save(tmp_path / name, grey)
    (tmp_path / "a" / "notes.txt").write_text("not a picture")
    _save(tmp_path / "a" / "._z.png", grey)
    _save(tmp_path / ".cache" / "z.png", grey)
    source = ss.data.ImageFolderSource(tmp_path, 4)
    found = [path.relative_to(tmp_path).as_posix() for path in source.paths]
    assert found == [
        "a/deep/er/1.png",
        "a/z.png",
        "a.png",
        "b/10.PNG",
        "b/2.png",
        "c/1.bmp",
    ]
    assert source.class_names == ("a", "b", "c")
    assert [source[i]["label"] for i in range(6)] == [0, 0, -1, 1, 1, 2]
    assert source.labels.tolist() == [0, 0, -1, 1, 1, 2]


def test_a_flat_folder_has_no_classes(tmp_path):
    _save(tmp_path / "x.png", np.zeros((4, 4), np.uint8))
    source = ss.data.ImageFolderSource(tmp_path, 4)
    assert source.class_names is None
    assert source[0]["label"] == -1


def test_links_are_followed_once(tmp_path):
    _save(tmp_path / "real" / "x.png", np.zeros((4, 4), np.uint8))
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "loop").symlink_to(folder)
    source = ss.data.ImageFolderSource(folder, 4)
    assert source.class_names == ("linked",)
    assert len(source) == 1


@pytest.mark.parametrize("shape", [(4, 7), (9, 4), (4, 4)])
def test_centre_crop_is_exact(tmp_path, shape):
    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    _save(tmp_path / "x.png", picture)
    top, left = (shape[0] - 4) // 2, (shape[1] - 4) // 2
    expected = picture[top : top + 4, left : left + 4]
    np.testing.assert_array_equal(_only(tmp_path, 4), expected)


def test_shrinking_keeps_a_ramp_in_place(tmp_path):
    """A symmetric filter keeps straight lines: pixel i of the result is the ramp at
    the centre of the 4 pixels that it covers. Half a pixel of shift would show."""
    ramp = np.tile(np.arange(64, dtype=np.uint8) * 3, (64, 1))
    _save(tmp_path / "x.png", ramp)
    shrunk = _only(tmp_path, 16, channels=1)[:, :, 0].astype(float)
    centres = 3 * (4 * np.arange(16) + 1.5)
    # Away from the edges, where the filter is cut off; grey levels are whole numbers.
    assert np.abs(shrunk - centres)[:, 2:-2].max() <= 1


def test_shrinking_does_not_alias(tmp_path):
    """Stripes finer than the result can hold become their mean."""
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    _save(tmp_path / "x.png", stripes)
    shrunk = _only(tmp_path, 8, channels=1).astype(float)
    assert np.abs(shrunk - 127.5).max() < 8


def test_colour_and_grey(tmp_path):
    colour = np.zeros((5, 5, 3), np.uint8) + np.array([200, 100, 50], np.uint8)
    _save(tmp_path / "x.png", colour)
    np.testing.assert_array_equal(_only(tmp_path, 5), colour)
    # ITU-R 601-2 luma.
    luma = 0.299 * 200 + 0.587 * 100 + 0.114 * 50
    grey = _only(tmp_path, 5, channels=1)
    assert grey.shape == (5, 5, 1)
    assert np.abs(grey.astype(float) - luma).max() <= 0.5


def test_grey_becomes_three_equal_channels(tmp_path):
    _save(tmp_path / "x.png", np.full((5, 5), 77, np.uint8))
    np.testing.assert_array_equal(_only(tmp_path, 3), np.full((3, 3, 3), 77))


def test_16_bit_grey_is_scaled_and_not_clipped(tmp_path):
    levels = np.array([0, 1, 64, 128, 255])
    _save(tmp_path / "x.png", (np.tile(levels, (5, 1)) * 257).astype(np.uint16))
    row = _only(tmp_path, 5, channels=1)[0, :, 0]
    np.testing.assert_array_equal(row, levels)


def test_transparent_pixels_are_white(tmp_path):
    picture = np.zeros((4, 4, 4), np.uint8)
    picture[:2, :, 3] = 255
    _save(tmp_path / "x.png", picture)
    image = _only(tmp_path, 4)
    np.testing.assert_array_equal(image[:2], np.zeros((2, 4, 3)))
    np.testing.assert_array_equal(image[2:], np.full((2, 4, 3), 255))


def test_exif_orientation_is_applied(tmp_path):
    picture = np.zeros((8, 8), np.uint8)
    picture[:, :4] = 255
    exif = image_module.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to see it": left becomes top
    _save(tmp_path / "x.png", picture, exif=exif)
    image = _only(tmp_path, 8, channels=1)[:, :, 0]
    np.testing.assert_array_equal(image, np.rot90(picture, -1))


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
def test_formats(tmp_path, suffix):
    _save(tmp_path / f"x.{suffix}", np.full((9, 6), 128, np.uint8))
    image = _only(tmp_path, 4)
    assert image.dtype == np.uint8
    assert np.abs(image.astype(int) - 128).max() <= 2


def test_no_pictures(tmp_path):
    with pytest.raises(ValueError, match=r"holds no pictures.*\.jpg"):
        ss.data.ImageFolderSource(tmp_path, 4)
    with pytest.raises(NotADirectoryError, match="nowhere is not a folder"):
        ss.data.ImageFolderSource(tmp_path / "nowhere", 4)


def test_bad_arguments(tmp_path):
    with pytest.raises(ValueError, match="`size` must be at least 1 pixel, got 0"):
        ss.data.ImageFolderSource(tmp_path, 0)
    with pytest.raises(ValueError, match="`channels` must be 1 or 3, got 2"):
        ss.data.ImageFolderSource(tmp_path, 4, channels=2)


def test_files_that_are_not_pictures_are_all_named_at_once(tmp_path):
    _save(tmp_path / "good.png", np.zeros((4, 4), np.uint8))
    for i in range(7):
        (tmp_path / f"bad{i}.png").write_bytes(b"<html>404</html>" if i else b"")
    with pytest.raises(ValueError, match="7 of 8 files cannot be read") as caught:
        ss.data.ImageFolderSource(tmp_path, 4)
    assert str(tmp_path / "bad0.png") in str(caught.value)
    assert "and 2 more" in str(caught.value)


@pytest.mark.parametrize("suffix", ["bmp", "gif", "jpg", "png", "ppm", "tif", "webp"])
def test_truncated_pictures_are_named(tmp_path, suffix):
    rng = np.random.default_rng(0)
    path = _save(tmp_path / f"x.{suffix}", rng.integers(0, 256, (32, 32), np.uint8))
    whole = path.read_bytes()
    for length in (0, 3, 20, len(whole) // 2):
        path.write_bytes(whole[:length])
        # In the header it is seen at once, in the pixels when they are read.
        with pytest.raises(ValueError, match=rf"x\.{suffix}"):
            ss.data.ImageFolderSource(tmp_path, 8)[0]


def test_floating_pictures_are_refused(tmp_path):
    _save(tmp_path / "x.tif", np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match=r"x\.tif.*no known white"):
        _only(tmp_path, 4)


def test_loader_and_array_agree(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(6):
        _save(tmp_path / "abc"[i % 3] / f"{i}.png", rng.integers(0, 256, (9, 7), "u1"))
    source = ss.data.ImageFolderSource(tmp_path, 5)
    loader = ss.data.make_loader(source, 6, shuffle=False, repeat=False, num_threads=3)
    (batch,) = list(loader)
    np.testing.assert_array_equal(batch["image"], ss.data.to_array(source))
    np.testing.assert_array_equal(batch["label"], ss.data.to_labels(source))
    np.testing.assert_array_equal(
        batch["image"][2], source[2]["image"].astype(np.float32) / np.float32(255)
    )

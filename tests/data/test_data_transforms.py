"""Transforms: where the pixels go, and that chance obeys the seed."""

import itertools
import math

import numpy as np
import pytest

import softsde as ss


def _element(image):
    return {"image": image, "label": 3}


@pytest.mark.parametrize("shape", [(4, 4, 1), (3, 6, 2), (8, 8, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_pad_is_numpy_s_pad(shape, dtype):
    image = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    height, width, _ = shape
    top, left = (8 - height) // 2, (8 - width) // 2
    margins = ((top, 8 - height - top), (left, 8 - width - left), (0, 0))
    element = ss.data.Pad(8).map(_element(image))
    np.testing.assert_array_equal(element["image"], np.pad(image, margins))
    assert element["image"].dtype == dtype
    assert element["label"] == 3


def test_fill_is_a_grey_level_whatever_the_dtype():
    grey = ss.data.Pad(4, fill=0.5)
    bytes_ = grey.map(_element(np.zeros((2, 2, 1), np.uint8)))["image"]
    floats = grey.map(_element(np.zeros((2, 2, 1), np.float32)))["image"]
    assert floats[0, 0, 0] == 0.5
    assert abs(bytes_[0, 0, 0] / 255 - 0.5) <= 0.5 / 255


def test_pad_refuses_what_is_too_large():
    with pytest.raises(ValueError, match=r"Pad\(size=8\) cannot hold.*9x4.*Resize"):
        ss.data.Pad(8).map(_element(np.zeros((9, 4, 1), np.uint8)))
    with pytest.raises(ValueError, match=r"`fill` must be in \[0, 1\], got 255"):
        ss.data.Pad(8, fill=255.0)


def _flips(seed, num_threads=0, probability=0.5, count=40):
    """Tells which images are mirrored: the others are dark left and bright right."""
    images = np.zeros((50, 2, 2, 1), np.uint8)
    images[:, :, 1] = 255
    loader = ss.data.make_loader(
        ss.data.ArraySource(images),
        50,
        seed=seed,
        transforms=[ss.data.RandomFlip(probability)],
        num_threads=num_threads,
    )
    flips = []
    for batch in itertools.islice(loader, count):
        image = batch["image"]
        np.testing.assert_array_equal(image.sum(axis=2), np.ones((50, 2, 1)))
        flips.append(image[:, 0, 0, 0])
    return np.stack(flips)


def test_flips_happen_as_often_as_asked():
    for probability in (0.5, 0.1):
        flips = _flips(0, probability=probability)
        deviation = math.sqrt(probability * (1 - probability) / flips.size)
        assert abs(flips.mean() - probability) < 4 * deviation
    assert _flips(0, probability=0.0, count=4).max() == 0
    assert _flips(0, probability=1.0, count=4).min() == 1


def test_flips_are_fixed_by_the_seed_and_new_every_epoch():
    flips = _flips(0)
    np.testing.assert_array_equal(flips, _flips(0, num_threads=3))
    assert not np.array_equal(flips, _flips(1))
    # Every epoch here is one batch: no two of 40 draws of 50 coins are alike.
    assert len({tuple(epoch) for epoch in flips}) == 40


def test_flip_refuses_what_is_no_probability():
    with pytest.raises(ValueError, match=r"`probability` must be in \[0, 1\], got 2"):
        ss.data.RandomFlip(2.0)


def test_resize_keeps_a_ramp_in_place():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)
    image = np.stack([np.tile(ramp, (32, 1)), np.tile(1 - ramp, (32, 1))], axis=-1)
    resized = ss.data.Resize(16).map(_element(image))["image"]
    assert resized.shape == (16, 16, 2)
    assert resized.dtype == np.float32
    centres = (4 * np.arange(16) + 1.5) / 63
    np.testing.assert_allclose(
        resized[:, 2:-2, 0], np.tile(centres, (16, 1))[:, 2:-2], atol=1e-5
    )
    np.testing.assert_allclose(resized[..., 1], 1 - resized[..., 0], atol=1e-5)


def test_resize_stays_within_the_range_at_edges():
    image = np.zeros((12, 12, 1), np.uint8)
    image[:, 6:] = 255
    resized = ss.data.Resize(31).map(_element(image))["image"]
    assert resized.min() == 0
    assert resized.max() == 1


def test_resize_to_its_own_size_changes_nothing():
    image = np.random.default_rng(0).random((7, 7, 3)).astype(np.float32)
    resized = ss.data.Resize(7).map(_element(image))["image"]
    np.testing.assert_array_equal(resized, image)


def test_resize_refuses_no_size():
    with pytest.raises(ValueError, match="`size` must be at least 1 pixel, got 0"):
        ss.data.Resize(0)

"""Whole sources as arrays."""

import numpy as np
import pytest

import softsde as ss


class _OneByOne(ss.data.AbstractSource):
    """The same images as an array source, without the array."""

    def __init__(self, source):
        self.source = source
        self.labels = source.labels
        self.class_names = None

    @property
    def shape(self):
        return self.source.shape

    def __len__(self):
        return len(self.source)

    def item(self, index):
        return self.source[index]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("limit", [None, 1, 4, 10, 99])
def test_both_ways_agree(dtype, limit):
    values = np.random.default_rng(0).integers(0, 256, (10, 3, 4, 2))
    images = values.astype(np.uint8) if dtype == np.uint8 else values / 255
    source = ss.data.ArraySource(images, np.arange(10))
    array = ss.data.to_array(source, limit)
    labels = ss.data.to_labels(source, limit)
    assert array.dtype == np.float32
    assert labels.dtype == np.int32
    assert len(array) == min(10, limit or 10)
    np.testing.assert_allclose(array, values[labels] / 255, atol=1e-7)
    slow = _OneByOne(source)
    np.testing.assert_array_equal(ss.data.to_array(slow, limit), array)
    np.testing.assert_array_equal(ss.data.to_labels(slow, limit), labels)


def test_the_array_is_one_s_own():
    source = ss.data.ArraySource(np.zeros((3, 2, 2), np.float32))
    array = ss.data.to_array(source)
    array[:] = 1
    assert source[0]["image"].max() == 0


def test_a_limit_takes_evenly_from_a_source_in_the_order_of_its_classes():
    images = np.zeros((1000, 2, 2), np.uint8)
    source = ss.data.ArraySource(images, np.repeat(np.arange(10), 100))
    counts = np.bincount(ss.data.to_labels(source, 50))
    np.testing.assert_array_equal(counts, np.full((10,), 5))


def test_a_limit_must_be_positive():
    with pytest.raises(ValueError, match="`limit` must be at least 1 or None, got 0"):
        ss.data.to_array(ss.data.ArraySource(np.zeros((3, 2, 2))), 0)

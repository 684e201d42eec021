"""CIFAR-10 records: the planes end up as channels, and damage is noticed."""

import numpy as np
import pytest

import softsde as ss


def test_planes_become_channels(tmp_path, cifar_records):
    labels, images, data = cifar_records(5)
    (tmp_path / "a.bin").write_bytes(data[: 2 * 3073])
    (tmp_path / "b.bin").write_bytes(data[2 * 3073 :])
    source = ss.data.Cifar10Source([tmp_path / "a.bin", tmp_path / "b.bin"])
    assert len(source) == 5
    assert source.shape == (32, 32, 3)
    for i in range(5):
        np.testing.assert_array_equal(source[i]["image"], images[i])
        assert source[i]["label"] == labels[i]
    assert source.class_names is not None
    assert source.class_names[6] == "frog"


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_size(tmp_path, cifar_records, change):
    data = cifar_records(3)[2]
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(data[:-1] if change < 0 else data + b"x")
    with pytest.raises(
        ValueError, match=r"data_batch_1\.bin has .* not a whole number"
    ):
        ss.data.Cifar10Source(path)


def test_empty(tmp_path):
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="has 0 bytes"):
        ss.data.Cifar10Source(path)
    with pytest.raises(ValueError, match="`files` is empty"):
        ss.data.Cifar10Source([])


def test_shifted_records(tmp_path, cifar_records):
    """A byte lost and one added elsewhere keeps the size, and must still be seen."""
    data = bytearray(cifar_records(3)[2])
    data[3073] = 10
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="record 1 has label 10"):
        ss.data.Cifar10Source(path)

"""Small files in the formats that the sources read, written from their definitions."""

import gzip
import io
import struct

import numpy as np
import pytest


def idx_bytes(array: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{array.ndim}I", 0, 0x08, array.ndim, *array.shape)
    return header + array.astype(np.uint8).tobytes()


@pytest.fixture
def write_idx(tmp_path):
    def write(name, content, *, zipped=False):
        """Writes an array as idx, or bytes as they are."""
        data = idx_bytes(content) if isinstance(content, np.ndarray) else content
        if zipped:
            buffer = io.BytesIO()
            with gzip.GzipFile(fileobj=buffer, mode="wb") as file:
                file.write(data)
            data = buffer.getvalue()
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    return write


@pytest.fixture
def mnist_layout(write_idx):
    """Writes the four files of an MNIST-like data set, and returns their arrays."""

    def write(folder, *, zipped=True, num_train=7, num_test=4):
        rng = np.random.default_rng(1)
        arrays = {}
        for split, prefix, n in (
            ("train", "train", num_train),
            ("test", "t10k", num_test),
        ):
            images = rng.integers(0, 256, (n, 28, 28), np.uint8)
            labels = rng.integers(0, 10, (n,), np.uint8)
            suffix = ".gz" if zipped else ""
            write_idx(
                f"{folder}/{prefix}-images-idx3-ubyte{suffix}", images, zipped=zipped
            )
            write_idx(
                f"{folder}/{prefix}-labels-idx1-ubyte{suffix}", labels, zipped=zipped
            )
            arrays[split] = (images, labels)
        return arrays

    return write


@pytest.fixture
def cifar_records():
    """Labels, images and bytes of CIFAR-10 records."""

    def make(n, seed=0):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 10, (n,), np.uint8)
        images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        data = b""
        for label, image in zip(labels, images, strict=True):
            # One label byte, then the red, the green and the blue plane, row by row.
            planes = [image[:, :, c].tobytes() for c in range(3)]
            data += bytes([label]) + b"".join(planes)
        return labels, images, data

    return make


@pytest.fixture
def isolated(tmp_path, monkeypatch):
    """No data set is found unless the test puts it under `tmp_path`."""
    from softsde.data import _named

    monkeypatch.delenv("SOFTSDE_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(_named, "SYSTEM_FOLDER", tmp_path / "system")
    monkeypatch.chdir(tmp_path)
    return tmp_path

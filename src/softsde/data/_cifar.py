"""CIFAR-10 in its binary version: records of one label byte and three colour planes."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._source import AbstractInMemorySource, freeze

_SIDE = 32
_RECORD = 1 + 3 * _SIDE * _SIDE  # 3,073 bytes
_CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


class Cifar10Source(AbstractInMemorySource):
    """Images of CIFAR-10 binary files, one after the other.

    !!! example
        ```{ .python .no-run }
        source = ss.data.Cifar10Source(["data_batch_1.bin", "data_batch_2.bin"])
        source[0]["image"].shape  # (32, 32, 3)
        ```
    """

    def __init__(self, files: Sequence[str | os.PathLike] | str | os.PathLike):
        """**Arguments:**

        - `files`: one file or several, in the order of the data set.

        **Raises:** FileNotFoundError where a file is missing; ValueError where there
        are none, or one is not a whole number of records with labels 0..9.
        """
        if isinstance(files, str | os.PathLike):
            files = [files]
        if len(files) == 0:
            raise ValueError("`files` is empty: name at least one CIFAR-10 .bin file.")
        records = np.concatenate([_read_records(Path(file)) for file in files])
        planes = records[:, 1:].reshape(-1, 3, _SIDE, _SIDE)
        self.images = freeze(np.ascontiguousarray(planes.transpose(0, 2, 3, 1)))
        self.labels = freeze(records[:, 0].astype(np.int32))
        self.class_names = _CLASS_NAMES


def _read_records(path: Path) -> np.ndarray:
    size = path.stat().st_size
    if size == 0 or size % _RECORD != 0:
        raise ValueError(
            f"{path} has {size} bytes, which is not a whole number of {_RECORD}-byte "
            "records: it is truncated, or it is not the binary version of CIFAR-10 "
            "(the Python version and CIFAR-100 have other files)."
        )
    records = np.fromfile(path, np.uint8).reshape(-1, _RECORD)
    # Bytes lost or added within the file move all later labels onto pixels.
    bad = np.flatnonzero(records[:, 0] > 9)
    if bad.size > 0:
        raise ValueError(
            f"{path}: record {bad[0]} has label {records[bad[0], 0]}, expected 0..9. "
            "The file is damaged, or not CIFAR-10: fetch it again."
        )
    return records

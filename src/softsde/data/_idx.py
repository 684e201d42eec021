"""Images and labels in idx files, the format of MNIST and its descendants.

An idx file is two zero bytes, a type code (0x08 is uint8), a rank, then one big-endian
32-bit size an axis, then the values. Nothing in it says where it ends, so the check is
arithmetic: header plus product of sizes must be the length of the file, exactly.
"""

import gzip
import math
import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ._source import AbstractInMemorySource, check_labels, freeze

_GZIP_MAGIC = b"\x1f\x8b"
_UINT8 = 0x08
_KINDS = {1: "labels (idx1)", 3: "images (idx3)"}


class IdxSource(AbstractInMemorySource):
    """Images of an idx3 file with the labels of an idx1 file, gzipped or not.

    !!! example
        ```{ .python .no-run }
        source = ss.data.IdxSource("train-images-idx3-ubyte.gz",
                                   "train-labels-idx1-ubyte.gz")
        source[0]["image"].shape  # (28, 28, 1)
        ```
    """

    def __init__(
        self,
        images: str | os.PathLike,
        labels: str | os.PathLike | None = None,
        *,
        class_names: Sequence[str] | None = None,
    ):
        """**Arguments:**

        - `images`: the idx3 file of `uint8` images; gzip is recognised by content.
        - `labels`: the idx1 file of `uint8` labels, one an image; without it every
            label is -1.
        - `class_names`: the names of the classes, in the order of the labels.

        **Raises:** FileNotFoundError where a file is missing; ValueError where one is
        not idx, of the wrong rank, truncated, longer than its header says, or where
        the numbers of images and labels differ.
        """
        self.images = freeze(read_idx(images, rank=3)[..., None])
        self.class_names = None if class_names is None else tuple(class_names)
        self.labels = check_labels(
            None if labels is None else read_idx(labels, rank=1),
            len(self.images),
            self.class_names,
            origin=str(images if labels is None else labels),
        )


def read_idx(path: str | os.PathLike, *, rank: int) -> np.ndarray:
    """The `uint8` array in an idx file.

    **Arguments:**

    - `path`: the file, gzipped or not.
    - `rank`: the number of axes that it must have (3 for images, 1 for labels).

    **Returns:** the array, with the file's own shape.

    **Raises:** ValueError naming the file and what is wrong with it.
    """
    path = Path(path)
    with path.open("rb") as file:
        zipped = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        try:
            if zipped:
                with gzip.GzipFile(fileobj=file) as stream:
                    return _parse(stream, path, rank)
            return _parse(file, path, rank)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(
                f"{path} is not a sound gzip file ({error}). It was probably cut off "
                "while being copied: fetch it again."
            ) from error


def _parse(stream, path: Path, rank: int) -> np.ndarray:
    magic = stream.read(4)
    if len(magic) == 4:
        if magic[:2] != b"\x00\x00":
            raise ValueError(
                f"{path} is not an idx file: it starts with {magic.hex()} where "
                f"0000{_UINT8:02x}{rank:02x} is expected."
            )
        if magic[2] != _UINT8:
            raise ValueError(
                f"{path} holds idx values of type 0x{magic[2]:02x}; only uint8 "
                f"(0x{_UINT8:02x}) is read. Convert the values to bytes in [0, 255]."
            )
        if magic[3] != rank:
            got = _KINDS.get(magic[3], f"an array of rank {magic[3]}")
            raise ValueError(
                f"{path} holds {got} where {_KINDS[rank]} are expected: were the "
                "image and label files swapped?"
            )
    sizes = stream.read(4 * rank)
    if len(sizes) < 4 * rank:
        raise ValueError(
            f"{path} is truncated: its header has {len(magic) + len(sizes)} bytes of "
            f"{4 + 4 * rank}. Fetch the file again."
        )
    shape = struct.unpack(f">{rank}I", sizes)
    if min(shape) == 0:
        raise ValueError(f"{path} is empty: its header gives the shape {shape}.")
    # The header is not to be trusted with an allocation: read in pieces, and stop one
    # byte after the end that it promises.
    expected = math.prod(shape)
    body = bytearray()
    while piece := stream.read(min(1 << 20, expected + 1 - len(body))):
        body += piece
    if len(body) < expected:
        raise ValueError(
            f"{path} is truncated: the shape {shape} needs {expected} bytes of values, "
            f"found {len(body)}. Fetch the file again."
        )
    if len(body) > expected:
        raise ValueError(
            f"{path} is longer than its header says: bytes follow the {expected} of "
            f"the shape {shape}. Fetch the file again."
        )
    return np.frombuffer(body, np.uint8).reshape(shape)

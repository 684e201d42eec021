"""A data set in two files of bytes: decoded once, and then read as fast as memory.

The images are decoded, cropped and resized when the data set is packed. A run then maps
the file into memory: many processes of one machine share it, it may be larger than the
memory, and an image costs a copy.
"""

import concurrent.futures
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from .._files import atomically, write_json
from ._source import AbstractInMemorySource, AbstractSource, check_labels, freeze

_ABOUT, _IMAGES, _LABELS = "packed.json", "images.npy", "labels.npy"
_FORMAT = 1
# Images that are decoded before they are written.
_CHUNK = 256
_LISTED = 5


class PackedSource(AbstractInMemorySource):
    """The images of a folder that [`softsde.data.pack`][] wrote.

    !!! example
        ```{ .python .no-run }
        ss.data.pack(ss.data.ImageFolderSource("pictures", 64), "packed")
        source = ss.data.PackedSource("packed")
        ```
    """

    def __init__(self, folder: str | os.PathLike, *, verify: bool = False):
        """**Arguments:**

        - `folder`: the folder.
        - `verify`: whether to read everything now and compare it with the checksums.

        **Raises:** FileNotFoundError where the folder holds no packed images;
        ValueError where its files are damaged, incomplete, or not those that belong
        together.
        """
        folder = Path(folder).expanduser()
        if not is_packed(folder):
            raise FileNotFoundError(
                f"{folder} holds no packed images (no {_ABOUT}). Make them with "
                "`softsde.data.pack` or `python -m experiments.prepare`."
            )
        about = _read_about(folder)
        for name, expected in about["bytes"].items():
            found = (folder / name).stat().st_size if (folder / name).exists() else None
            if found != expected:
                raise ValueError(
                    f"{folder / name} has {found} bytes, but {_ABOUT} says {expected}: "
                    "the data set has changed or was copied in part. Pack it again."
                )
        if verify:
            _verify(folder, about)
        images = np.load(folder / _IMAGES, mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / _LABELS, allow_pickle=False)
        names = about["class_names"]
        self.images = freeze(images)
        self.class_names = None if names is None else tuple(names)
        self.labels = check_labels(
            labels, len(images), self.class_names, origin=str(folder)
        )
        #: SHA-256 of each file, which tells whether two runs had the same data.
        self.checksums: dict[str, str] = about["sha256"]


def is_packed(folder: Path) -> bool:
    """Tells whether a folder holds packed images."""
    return (folder / _ABOUT).is_file()


def _read_about(folder: Path) -> dict:
    try:
        about = json.loads((folder / _ABOUT).read_text())
        if about["format"] != _FORMAT:
            raise ValueError(f"its format is {about['format']}, not {_FORMAT}")
        if set(about["bytes"]) != {_IMAGES, _LABELS} or "sha256" not in about:
            raise ValueError("entries are missing")
        return {"class_names": None} | about
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / _ABOUT} cannot be read: {error}. Pack the data set again."
        ) from error


def _verify(folder: Path, about: dict) -> None:
    for name, expected in about["sha256"].items():
        if _sha256(folder / name) != expected:
            raise ValueError(
                f"{folder / name} is damaged: its SHA-256 is not that in {_ABOUT}. "
                "Pack the data set again, or copy it again."
            )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def pack(
    source: AbstractSource,
    folder: str | os.PathLike,
    *,
    on_corrupt: Literal["refuse", "skip"] = "refuse",
    num_threads: int = 2,
) -> dict[str, int]:
    """Writes the images of a source as bytes, for [`softsde.data.PackedSource`][].

    The folder gets `images.npy`, `labels.npy`, and last of all `packed.json` with the
    names of the classes and checksums: a folder that a killed program has left
    incomplete is not taken for a data set.

    **Arguments:**

    - `source`: any source; floats are rounded to 256 levels.
    - `folder`: where to write. A packed data set that is there is replaced.
    - `on_corrupt`: `"refuse"` raises for the first image that cannot be read; `"skip"`
      leaves such images out, and counts them.
    - `num_threads`: threads that decode.

    **Returns:** `{"images": ..., "skipped": ...}`, the numbers of images.

    **Raises:** ValueError for an image that cannot be read, or if none can be; OSError
    if the disk is full, and then no data set is left behind.

    !!! example
        ```{ .python .no-run }
        source = ss.data.ImageFolderSource("img_align_celeba", 64, crop=140)
        ss.data.pack(source, "data/celeba64", on_corrupt="skip")
        ```
    """
    if on_corrupt not in ("refuse", "skip"):
        raise ValueError(
            f"`on_corrupt` must be 'refuse' or 'skip', got {on_corrupt!r}."
        )
    folder = Path(folder).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    # From here on the folder is not a data set, until all of it is written.
    (folder / _ABOUT).unlink(missing_ok=True)
    labels: list[int] = []
    skipped: list[str] = []
    with atomically(folder / _IMAGES) as file:
        # The number of images is not known yet: the header is written last, and has
        # one length for any number up to that of the source.
        size = _write_header(file, len(source), source.shape)
        for image, label in _decoded(source, on_corrupt, num_threads, skipped):
            file.write(_as_bytes(image).tobytes())
            labels.append(label)
        if not labels:
            raise ValueError(
                f"None of the {len(source)} images can be read; the first: {skipped[0]}"
            )
        file.seek(0)
        assert _write_header(file, len(labels), source.shape, size) == size
    with atomically(folder / _LABELS) as file:
        np.save(file, np.array(labels, np.int32), allow_pickle=False)
    files = (_IMAGES, _LABELS)
    about = {
        "format": _FORMAT,
        "images": len(labels),
        "skipped": len(skipped),
        "first_skipped": skipped[:_LISTED],
        "class_names": source.class_names,
        "bytes": {name: (folder / name).stat().st_size for name in files},
        "sha256": {name: _sha256(folder / name) for name in files},
    }
    write_json(folder / _ABOUT, about)
    return {"images": len(labels), "skipped": len(skipped)}


def _write_header(file, count: int, shape: tuple[int, ...], size: int = 0) -> int:
    """Writes the header of a `.npy` file of bytes; returns its length.

    It is padded with spaces, so that a later header of a smaller number fits.
    """
    text = repr({"descr": "|u1", "fortran_order": False, "shape": (count, *shape)})
    length = size or -(-(len(text) + 11) // 64) * 64
    file.write(b"\x93NUMPY\x01\x00" + (length - 10).to_bytes(2, "little"))
    file.write(text.encode().ljust(length - 11) + b"\n")
    return length


def _decoded(
    source: AbstractSource, on_corrupt: str, num_threads: int, skipped: list[str]
) -> Iterator[tuple[np.ndarray, int]]:
    """The images in order, a chunk at a time, decoded by several threads."""

    def read(index: int):
        try:
            return source[index], None
        except ValueError as error:
            if on_corrupt == "refuse":
                raise
            return None, str(error)

    with concurrent.futures.ThreadPoolExecutor(max(1, num_threads)) as threads:
        for first in range(0, len(source), _CHUNK):
            indices = range(first, min(first + _CHUNK, len(source)))
            for item, error in threads.map(read, indices):
                if item is None:
                    skipped.append(str(error))
                else:
                    yield np.asarray(item["image"]), int(item["label"])


def _as_bytes(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return np.ascontiguousarray(image)
    return np.round(255 * np.clip(image, 0, 1)).astype(np.uint8)

"""Images that are an array already: one's own data, in memory or in a numpy file."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._source import AbstractInMemorySource, check_labels, freeze


class ArraySource(AbstractInMemorySource):
    """Images of an array, of a `.npy` file, or of a `.npz` file.

    `uint8` images count from 0 to 255, floating ones from 0 to 1: anything else is
    refused, since a model trained on the wrong range looks merely bad.

    !!! example
        ```python
        images = np.random.default_rng(0).random((100, 16, 16, 3))
        source = ss.data.ArraySource(images)
        source[0]["image"].dtype  # float32
        ```
    """

    def __init__(
        self,
        images: Any,
        labels: Any = None,
        *,
        class_names: Sequence[str] | None = None,
        channels_first: bool = False,
        value_range: tuple[float | int, float | int] | None = None,
    ):
        """**Arguments:**

        - `images`: `(n, height, width)` or `(n, height, width, channels)`, `uint8` in
          [0, 255] or floating in [0, 1]; or the path of a `.npy` file of such an array
          (it is memory-mapped) or of a `.npz` file that holds it alone or under the
          name `images`, with its labels, if any, under `labels`.
        - `labels`: one integer an image; without them every label is -1.
        - `class_names`: the names of the classes, in the order of the labels.
        - `channels_first`: whether the images are `(n, channels, height, width)`.
        - `value_range`: black and white, where they are others than those above, such
          as `(-1, 1)`. The images become floating ones in [0, 1].

        **Raises:** FileNotFoundError where there is no such file; TypeError for
        another dtype; ValueError for another shape or range, for NaN, and for a file
        that numpy cannot read.
        """
        origin = "images"
        if isinstance(images, str | os.PathLike):
            origin = str(images)
            images, stored = _read(Path(images))
            labels = stored if labels is None else labels
        images = np.asarray(images)
        if channels_first:
            images = _channels_last(images, origin)
        if value_range is not None:
            images = _rescale(images, value_range, origin)
        self.images = freeze(_check_images(images, origin, channels_first))
        self.class_names = None if class_names is None else tuple(class_names)
        self.labels = check_labels(
            labels, len(self.images), self.class_names, origin=origin
        )


def _read(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    if path.suffix not in (".npy", ".npz"):
        raise ValueError(
            f"{path} is neither .npy nor .npz. A folder of pictures is read by "
            "`ImageFolderSource`, idx files by `IdxSource`."
        )
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist.")
    try:
        if path.suffix == ".npy":
            return np.lib.format.open_memmap(path, mode="r"), None
        # Objects in numpy files are pickles, which run code: never read them.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            names = archive.files
            others = [name for name in names if name != "labels"]
            if "images" not in names and len(others) != 1:
                raise KeyError(
                    f"which of {names} holds the images? Name it `images`, or load it "
                    "yourself and pass the array."
                )
            images = archive["images" if "images" in names else others[0]]
            return images, archive["labels"] if "labels" in names else None
    except Exception as error:
        # numpy tells of a bad file by ValueError, EOFError, OSError, BadZipFile and
        # zlib.error, depending on where it breaks off; to us they are one thing.
        raise ValueError(
            f"{path} cannot be read as an array of images: {error}"
        ) from error


def _channels_last(images: np.ndarray, origin: str) -> np.ndarray:
    if images.ndim != 4:
        raise ValueError(
            f"{origin}: `channels_first=True` is for images of shape (n, channels, "
            f"height, width), got {images.shape}."
        )
    return np.moveaxis(images, 1, -1)


def _rescale(
    images: np.ndarray, value_range: tuple[float | int, float | int], origin: str
) -> np.ndarray:
    black, white = value_range
    if not black < white:
        raise ValueError(
            f"{origin}: `value_range` must rise from black to white, got {value_range}."
        )
    if not (images.min() >= black and images.max() <= white):
        raise ValueError(
            f"{origin}: `value_range={value_range}` was given, and the values are in "
            f"[{images.min():g}, {images.max():g}]."
        )
    scaled = (images.astype(np.float64) - black) / (white - black)
    return scaled.astype(np.float32)


def _check_images(images: np.ndarray, origin: str, channels_first: bool) -> np.ndarray:
    shape, dtype = images.shape, images.dtype
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4:
        raise ValueError(
            f"{origin}: expected shape (n, height, width) or (n, height, width, "
            f"channels), got {shape}. A single image becomes a data set with "
            "`image[None]`; flattened ones with `.reshape(n, height, width, channels)`."
        )
    if min(shape) == 0:
        raise ValueError(f"{origin}: there are no images in an array of shape {shape}.")
    if not channels_first and shape[1] in (1, 3, 4) and images.shape[3] > 4:
        raise ValueError(
            f"{origin}: shape {shape} looks channels-first; channels come last here. "
            "Use `np.moveaxis(images, 1, -1)`, or pass `channels_first=True`."
        )
    if dtype == np.uint8:
        return images
    if not np.issubdtype(dtype, np.floating):
        raise TypeError(
            f"{origin}: expected uint8 in [0, 255] or floating values in [0, 1], got "
            f"dtype {dtype}. Whole numbers in [0, 255] become right with "
            "`.astype(np.uint8)` or by passing `value_range=(0, 255)`, truth values "
            "with `.astype(np.float32)` or by passing `value_range=(0, 1)`."
        )
    low, high = float(images.min()), float(images.max())
    # The comparison is written so that NaN fails it.
    if not (0 <= low and high <= 1):
        if not np.isfinite([low, high]).all():
            count = int((~np.isfinite(images)).any(axis=(1, 2, 3)).sum())
            raise ValueError(
                f"{origin}: {count} of {len(images)} images hold NaN or infinite "
                "values. Drop them with `images[np.isfinite(images).all((1, 2, 3))]`."
            )
        mend = (
            "Rescale them, for example `(x - x.min()) / (x.max() - x.min())`, or pass "
            f"`value_range=({low:g}, {high:g})`."
        )
        if -1 <= low and high <= 1:
            mend = (
                "They seem to be in [-1, 1]: use `(images + 1) / 2`, or pass "
                "`value_range=(-1, 1)`."
            )
        elif 0 <= low and high <= 255:
            mend = (
                "They seem to be in [0, 255]: use `images / 255`, or pass "
                "`value_range=(0, 255)`."
            )
        raise ValueError(
            f"{origin}: floating images must be in [0, 1], got [{low:g}, {high:g}]. "
            f"{mend}"
        )
    return images.astype(np.float32, copy=False)

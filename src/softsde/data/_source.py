"""A source of images is a random-access sequence of labelled images.

A source answers `len(source)` and `source[i]`, which is all that grain asks of one,
and knows the shape of its images and the names of its classes. Sources read and check;
they neither shuffle, batch nor augment, which is the loader's work.
"""

import abc
import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np

#: The label of an image whose class is not known.
UNLABELLED = -1


class AbstractSource(abc.ABC):
    """A sequence of images of one shape, each with a label.

    `source[i]` is `{"image": (height, width, channels), "label": int}`, where the image
    is either `uint8` in [0, 255] or `float32` in [0, 1]. The label is -1 where the
    class is not known.

    A source of one's own is a subclass that defines `shape`, `__len__` and `item`, and
    sets two attributes:

    - `labels`: the labels of all images, `int32` of shape `(len(self),)`;
    - `class_names`: the names of the classes in the order of their labels, or None.
    """

    labels: np.ndarray
    class_names: tuple[str, ...] | None

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int, int]:
        """The shape of one image, `(height, width, channels)`."""

    @abc.abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abc.abstractmethod
    def item(self, index: int) -> dict[str, Any]:
        """Image and label at `index`, which is in `[0, len(self))`."""

    def __getitem__(self, index: SupportsIndex) -> dict[str, Any]:
        number = operator.index(index)
        if not -len(self) <= number < len(self):
            raise IndexError(f"index {number} is outside a source of {len(self)}")
        return self.item(number % len(self))

    @property
    def num_classes(self) -> int:
        """The number of classes: of names where there are any, else of labels."""
        if self.class_names is not None:
            return len(self.class_names)
        return int(self.labels.max()) + 1

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}({len(self)} images of shape {self.shape}, "
            f"{self.num_classes} classes)"
        )


class AbstractInMemorySource(AbstractSource):
    """A source whose images are one array, `images`, which its `__init__` sets."""

    images: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        _, height, width, channels = self.images.shape
        return height, width, channels

    def __len__(self) -> int:
        return len(self.images)

    def item(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index], "label": int(self.labels[index])}


def freeze(array: np.ndarray) -> np.ndarray:
    """A read-only view, so that a transform cannot write into the data set."""
    view = array.view()
    view.flags.writeable = False
    return view


def check_labels(
    labels: Any, count: int, class_names: Sequence[str] | None, *, origin: str
) -> np.ndarray:
    """Labels as `int32` of shape `(count,)`; all `UNLABELLED` where there are none.

    **Arguments:**

    - `labels`: anything that numpy reads as a vector of integers, or None.
    - `count`: how many images there are.
    - `class_names`: the names that the labels count, or None.
    - `origin`: what to call the labels in an error.

    **Raises:** ValueError or TypeError where they are not one integer an image, or
    count beyond the names.
    """
    if labels is None:
        return freeze(np.full((count,), UNLABELLED, np.int32))
    vector = np.asarray(labels)
    if not np.issubdtype(vector.dtype, np.integer):
        raise TypeError(
            f"{origin}: labels must be integers, got dtype {vector.dtype}. One-hot or "
            "probability labels become integers with `labels.argmax(axis=-1)`."
        )
    if vector.shape != (count,):
        raise ValueError(
            f"{origin}: {count} images need labels of shape ({count},), got "
            f"{vector.shape}. Images and labels are probably of different splits."
        )
    low, high = int(vector.min()), int(vector.max())
    limit = np.iinfo(np.int32).max if class_names is None else len(class_names) - 1
    if low < UNLABELLED or high > limit:
        raise ValueError(
            f"{origin}: labels must be in [0, {limit}] (or {UNLABELLED} for "
            f"'unknown'), got [{low}, {high}]."
        )
    return freeze(vector.astype(np.int32))

"""Some images of a source: those kept from training, or a share of each class."""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from .._choose import evenly_spaced
from ._source import AbstractSource, freeze


class Subset(AbstractSource):
    """Some images of a source, in the order of their indices.

    !!! example
        ```python
        digits = ss.data.digits()
        first = ss.data.Subset(digits, range(100))
        len(first)  # 100
        ```
    """

    def __init__(self, source: AbstractSource, indices: Any):
        """**Arguments:**

        - `source`: where the images come from.
        - `indices`: which of them, each in `[0, len(source))`.

        **Raises:** ValueError where there is none, or one is outside the source.
        """
        chosen = np.asarray(list(indices), np.int64)
        if chosen.size == 0:
            raise ValueError(f"No image of {source} is chosen. Give some `indices`.")
        if chosen.min() < 0 or chosen.max() >= len(source):
            raise ValueError(
                f"`indices` must be in [0, {len(source)}), got "
                f"[{chosen.min()}, {chosen.max()}]."
            )
        self.source = source
        self.indices = freeze(chosen)
        self.labels = freeze(source.labels[chosen])
        self.class_names = source.class_names

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.source.shape

    def __len__(self) -> int:
        return len(self.indices)

    def item(self, index: int) -> dict[str, Any]:
        """Image and label at `index`."""
        return self.source[int(self.indices[index])]

    @property
    def num_classes(self) -> int:
        """The number of classes of the whole source."""
        return self.source.num_classes


def unbalanced(source: AbstractSource, shares: Sequence[float | int]) -> Subset:
    """A source of which only a share of each class is kept.

    The images that stay are spread evenly over those of their class, so the same shares
    always keep the same images. Images without a label stay.

    !!! example
        ```python
        digits = ss.data.digits()
        rare = ss.data.unbalanced(digits, [0.1] * 5 + [1.0] * 5)  # few of 0 to 4
        ```

    **Arguments:**

    - `source`: with labels.
    - `shares`: one for each class, in `[0, 1]`. Of a class of `n` images,
        `round(share * n)` stay.

    **Returns:** the images that stay, in their order.

    **Raises:** ValueError for a source without labels, for another number of shares
    than of classes, a share outside `[0, 1]`, or if no image stays.
    """
    number = source.num_classes
    if len(shares) != number or number < 1:
        raise ValueError(
            f"`unbalanced` got {len(shares)} shares; {source} has {number} classes. "
            "Give one share for each class."
        )
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"`unbalanced` got shares {list(shares)}; expected 0 to 1.")
    chosen = [np.flatnonzero(source.labels < 0)]
    for label, share in enumerate(shares):
        of_class = np.flatnonzero(source.labels == label)
        kept = round(share * len(of_class))
        if kept:
            chosen.append(evenly_spaced(of_class, kept))
    return Subset(source, np.sort(np.concatenate(chosen)))


def held_out(source: AbstractSource, share: float) -> tuple[Subset, Subset]:
    """Splits a source by the content of its images.

    An image is held out if the SHA-256 of its pixels, read as a number in [0, 1), is
    below `share`. So an image stays on its side when others are added, removed, renamed
    or sorted anew, and copies of an image are on one side.

    **Arguments:**

    - `source`: all images. Each is read once.
    - `share`: the expected share of images that are held out, in (0, 1).

    **Returns:** the images to train on, and those held out.

    **Raises:** ValueError where a side would be empty, or `share` is no such number.

    !!! example
        ```python
        training, test = ss.data.held_out(ss.data.digits(), 0.1)
        ```
    """
    if not 0 < share < 1:
        raise ValueError(f"`share` must be in (0, 1), got {share}.")
    places = np.array([_place(source[i]["image"]) for i in range(len(source))])
    kept = np.flatnonzero(places < share)
    if len(kept) in (0, len(source)):
        raise ValueError(
            f"Of {len(source)} images {len(kept)} would be held out with "
            f"`share={share}`; expected some on each side. Use another `share`, or "
            "more images."
        )
    return Subset(source, np.flatnonzero(places >= share)), Subset(source, kept)


def _place(image: np.ndarray) -> float:
    """The hash of an image as a number in [0, 1)."""
    digest = hashlib.sha256(np.ascontiguousarray(image).tobytes()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48

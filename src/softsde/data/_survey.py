"""Surveys a folder of pictures before any of them is loaded."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ._folder import find_pictures, import_pillow

#: Names of sub-folders that are splits, and the split that each is.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "val": "val",
    "valid": "val",
    "validation": "val",
}
_GREY = ("1", "L", "I", "I;16", "I;16B", "I;16L")


@dataclass(frozen=True)
class FolderSurvey:
    """The result of [`softsde.data.survey`][].

    - `pictures`: the number of pictures under the folder.
    - `sizes`: how many pictures have each `(height, width)`.
    - `grey`: whether every picture is grey.
    - `folders`: the sub-folders that hold pictures, in the order of their names.
    - `splits`: those of them that are named like a split, such as `train`.
    """

    pictures: int
    sizes: dict[tuple[int, int], int]
    grey: bool
    folders: tuple[str, ...]
    splits: tuple[str, ...]

    @property
    def side(self) -> int | None:
        """The side that all pictures have, if they are squares of one size."""
        if len(self.sizes) != 1:
            return None
        ((height, width),) = self.sizes
        return height if height == width else None

    @property
    def channels(self) -> int:
        """1 if every picture is grey, else 3."""
        return 1 if self.grey else 3


def survey(folder: str | os.PathLike) -> FolderSurvey:
    """Reads the headers of all pictures under a folder.

    **Arguments:**

    - `folder`: searched like [`softsde.data.ImageFolderSource`][] does.

    **Returns:** sizes, colours and sub-folders.

    **Raises:** NotADirectoryError where there is no such folder; ValueError where it
    holds no pictures, or files that are not pictures, naming one; ImportError without
    pillow.

    !!! example
        ```{ .python .no-run }
        found = ss.data.survey("pictures")
        found.sizes  # {(64, 64): 600}
        ```
    """
    image_module = import_pillow()
    folder = Path(folder).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"{folder} is not a folder.")
    relative = find_pictures(folder)
    if not relative:
        raise ValueError(f"{folder} holds no pictures.")
    sizes: Counter[tuple[int, int]] = Counter()
    grey = True
    for path in relative:
        try:
            with image_module.open(folder / path) as opened:
                width, height = opened.size
                # Orientations 5 to 8 turn the picture by a quarter.
                if opened.getexif().get(0x0112, 1) >= 5:
                    width, height = height, width
                grey = grey and opened.mode in _GREY
        except Exception as error:
            raise ValueError(
                f"{folder / path} cannot be read as a picture "
                f"({type(error).__name__}: {error}). Mend or remove it."
            ) from error
        sizes[height, width] += 1
    names = sorted({path.parts[0] for path in relative if len(path.parts) > 1})
    splits = tuple(name for name in names if name.lower() in SPLIT_NAMES)
    return FolderSurvey(len(relative), dict(sizes), grey, tuple(names), splits)

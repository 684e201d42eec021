"""One door for all data: a name that everyone knows, or a path of one's own."""

import difflib
import os
from pathlib import Path
from typing import Literal

from ._array import ArraySource
from ._digits import digits
from ._folder import ImageFolderSource
from ._idx import IdxSource
from ._named import (
    CIFAR10,
    MNIST,
    NamedDataSet,
    cifar10,
    fashion_mnist,
    find_files,
    mnist,
)
from ._packed import PackedSource, is_packed
from ._source import AbstractSource
from ._survey import SPLIT_NAMES, FolderSurvey, survey

_NAMED = {
    "cifar10": cifar10,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
}


def names() -> list[str]:
    """The data sets that [`softsde.data.load`][] finds by name."""
    return sorted(_NAMED)


def load(
    name_or_path: str | os.PathLike,
    split: str = "train",
    *,
    size: int | None = None,
    channels: int | None = None,
    folders: Literal["auto", "splits", "classes"] = "auto",
    channels_first: bool = False,
    value_range: tuple[float | int, float | int] | None = None,
) -> AbstractSource:
    """The data set of a name, or what is found at a path.

    **Arguments:**

    - `name_or_path`: `"mnist"`, `"fashion_mnist"`, `"cifar10"` or `"digits"`; a `.npy`
      or `.npz` file of images; an idx3 file; or a folder, of idx files, of CIFAR-10
      binary files, of pictures, or one that [`softsde.data.pack`][] wrote.
    - `split`: `"train"` or `"test"`. A folder of pictures has splits where it has
      subfolders of these names; a file has none, and is read whole as `"train"`.
    - `size`: for a folder of pictures, and only there: height and width to resize to.
      By default the side of the pictures, if they are squares of one size.
    - `channels`: likewise: 3 for colour, 1 for grey; by default what the pictures are.
    - `folders`: what the subfolders of a folder of pictures are: `"splits"`, such as
      `train` and `test`, or `"classes"`. By default splits if each is named like one,
      and classes if none is; a folder of both is refused.
    - `channels_first`, `value_range`: for a `.npy` or `.npz` file, see
      [`softsde.data.ArraySource`][].

    **Returns:** the source.

    **Raises:** FileNotFoundError where there is no such name or path; ValueError where
    it has no such split, or where a size or the meaning of subfolders is not clear; and
    whatever the source itself raises.

    !!! example
        ```{ .python .no-run }
        source = ss.data.load("digits", split="test")
        source = ss.data.load("pictures/", size=64)
        ```
    """
    name = str(name_or_path).lower().replace("-", "_")
    path = Path(name_or_path).expanduser()
    is_array = path.suffix in (".npy", ".npz") and path.is_file()
    if (channels_first or value_range is not None) and not is_array:
        raise ValueError(
            f"`channels_first` and `value_range` are for .npy and .npz files; {path} "
            "is none. Leave them out."
        )
    if name in _NAMED:
        _refuse_size(size, channels, name)
        return _NAMED[name](split)
    if path.is_dir():
        if is_packed(path) or is_packed(path / split):
            return _packed(path, split, size)
        if _holds(path, MNIST):
            _refuse_size(size, channels, str(path))
            # MNIST, or any of those that share its file names: no class names.
            return IdxSource(*find_files(MNIST, split, path))
        if _holds(path, CIFAR10):
            _refuse_size(size, channels, str(path))
            return cifar10(split, path)
        return _picture_folder(path, split, size, channels, folders)
    if path.is_file():
        _refuse_size(size, channels, str(path))
        if split != "train":
            raise ValueError(
                f"{path} is one file and has no split {split!r}; give the path of "
                "another file instead."
            )
        if is_array:
            return ArraySource(
                path, channels_first=channels_first, value_range=value_range
            )
        return IdxSource(path)
    near = difflib.get_close_matches(name, _NAMED)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise FileNotFoundError(
        f"{str(name_or_path)!r} is neither a data set ({', '.join(_NAMED)}) nor an "
        f"existing file or folder.{hint}"
    )


def _packed(folder: Path, split: str, size: int | None) -> PackedSource:
    if size is not None and size != PackedSource(_of_split(folder, split)).shape[0]:
        raise ValueError(
            f"{folder} is packed in another size than {size}: leave out the size, or "
            "pack the pictures again."
        )
    return PackedSource(_of_split(folder, split))


def _of_split(folder: Path, split: str) -> Path:
    """The subfolder of a split, or the folder itself, which is the training split."""
    if is_packed(folder / split):
        return folder / split
    if split != "train":
        raise ValueError(f"{folder} has no split {split!r}: no subfolder of this name.")
    return folder


def _holds(folder: Path, data_set: NamedDataSet) -> bool:
    return any(
        (folder / f"{file}{suffix}").is_file()
        for files in data_set.files.values()
        for file in files
        for suffix in ("", ".gz")
    )


def _picture_folder(
    folder: Path,
    split: str,
    size: int | None,
    channels: int | None,
    folders: Literal["auto", "splits", "classes"],
) -> ImageFolderSource:
    found = survey(folder)
    size = _common_size(folder, found) if size is None else size
    channels = found.channels if channels is None else channels
    if not _has_splits(folder, found, folders):
        if split != "train":
            raise ValueError(
                f"{folder} has no split {split!r}: no subfolder of this name."
            )
        return ImageFolderSource(folder, size, channels=channels, check=False)
    for name in found.splits:
        if SPLIT_NAMES[name.lower()] == split:
            return ImageFolderSource(
                folder / name, size, channels=channels, check=False
            )
    raise ValueError(
        f"{folder} has no split {split!r}; its subfolders are {_listed(found.folders)}."
    )


def _has_splits(
    folder: Path, found: FolderSurvey, folders: Literal["auto", "splits", "classes"]
) -> bool:
    if folders == "classes":
        return False
    if folders == "splits":
        if "train" not in [SPLIT_NAMES[name.lower()] for name in found.splits]:
            raise ValueError(
                f"`folders='splits'`: {folder} has no subfolder `train`; its "
                f"subfolders are {_listed(found.folders)}."
            )
        return True
    if not found.splits:
        return False
    others = [name for name in found.folders if name not in found.splits]
    lacks_train = "train" not in [SPLIT_NAMES[name.lower()] for name in found.splits]
    if others or lacks_train:
        raise ValueError(
            f"{folder} has the subfolders {_listed(found.folders)}: "
            f"{_listed(found.splits)} may be a split or a class. Pass "
            "`folders='classes'` if every subfolder is a class, or `folders='splits'` "
            "to read only the splits."
        )
    return True


def _common_size(folder: Path, found: FolderSurvey) -> int:
    if found.side is not None:
        return found.side
    sizes = sorted(found.sizes)
    listed = ", ".join(f"{h}x{w}" for h, w in sizes[:3])
    more = f" and {len(sizes) - 3} more" if len(sizes) > 3 else ""
    raise ValueError(
        f"{folder} is a folder of {found.pictures} pictures of the sizes "
        f"{listed}{more} (height x width), which need a common size: pass `size=`, the "
        "side of a square, such as `size=32`. Each picture is cropped in its middle "
        "and resized."
    )


def _listed(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:6]) or "(none)"
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _refuse_size(size: int | None, channels: int | None, what: str) -> None:
    if channels is not None:
        raise ValueError(
            f"`channels` is for folders of pictures; {what} has its own. Leave it out."
        )
    if size is not None:
        raise ValueError(
            f"`size` is for folders of pictures; {what} has its own. Use the `Resize` "
            "transform in the loader."
        )

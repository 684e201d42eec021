"""One door for all data: a name that everyone knows, or a path of one's own."""

import difflib
import os
from pathlib import Path

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

_NAMED = {
    "cifar10": cifar10,
    "digits": digits,
    "fashion_mnist": fashion_mnist,
    "mnist": mnist,
}


def load(
    name_or_path: str | os.PathLike, split: str = "train", *, size: int | None = None
) -> AbstractSource:
    """The data set of a name, or what is found at a path.

    **Arguments:**

    - `name_or_path`: `"mnist"`, `"fashion_mnist"`, `"cifar10"` or `"digits"`; a `.npy`
      or `.npz` file of images; an idx3 file; or a folder, of idx files, of CIFAR-10
      binary files, of pictures, or one that [`softsde.data.pack`][] wrote.
    - `split`: `"train"` or `"test"`. A folder of pictures has splits where it has
      subfolders of these names; a file has none, and is read whole as `"train"`.
    - `size`: for a folder of pictures, and only there: height and width to resize to.

    **Returns:** the source.

    **Raises:** FileNotFoundError where there is no such name or path; ValueError where
    it has no such split, or a size is missing or cannot be followed; and whatever the
    source itself raises.

    !!! example
        ```{ .python .no-run }
        source = ss.data.load("digits", split="test")
        source = ss.data.load("pictures/", size=64)
        ```
    """
    name = str(name_or_path).lower().replace("-", "_")
    path = Path(name_or_path).expanduser()
    if name in _NAMED:
        _refuse_size(size, name)
        return _NAMED[name](split)
    if path.is_dir():
        if is_packed(path) or is_packed(path / split):
            return _packed(path, split, size)
        if _holds(path, MNIST):
            _refuse_size(size, str(path))
            # MNIST, or any of those that share its file names: no class names.
            return IdxSource(*find_files(MNIST, split, path))
        if _holds(path, CIFAR10):
            _refuse_size(size, str(path))
            return cifar10(split, path)
        return _picture_folder(path, split, size)
    if path.is_file():
        _refuse_size(size, str(path))
        if split != "train":
            raise ValueError(
                f"{path} is one file and has no split {split!r}; give the path of "
                "another file instead."
            )
        if path.suffix in (".npy", ".npz"):
            return ArraySource(path)
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


def _picture_folder(folder: Path, split: str, size: int | None) -> ImageFolderSource:
    if size is None:
        raise ValueError(
            f"{folder} is a folder of pictures, which need a common size: pass `size=`."
        )
    if (folder / split).is_dir():
        return ImageFolderSource(folder / split, size)
    if split != "train":
        raise ValueError(f"{folder} has no split {split!r}: no subfolder of this name.")
    return ImageFolderSource(folder, size)


def _refuse_size(size: int | None, what: str) -> None:
    if size is not None:
        raise ValueError(
            f"`size` is for folders of pictures; {what} has its own. Use the `Resize` "
            "transform in the loader."
        )

"""The data sets that everyone knows, found by name.

A name is looked up in an explicit list of folders; when it is in none of them, the
error says which were looked in, why each did not do, and what would bring the files.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ._idx import IdxSource

#: An environment variable: folders, separated as in PATH, each holding `mnist/`, ...
ENVIRONMENT_VARIABLE = "SOFTSDE_DATA"


@dataclass(frozen=True)
class _Known:
    """Where a named data set may lie, and what makes it complete."""

    name: str
    folders: tuple[str, ...]
    debian: str | None = None


_MNIST = _Known("mnist", ("mnist", "MNIST/raw"))
_FASHION_MNIST = _Known(
    "fashion_mnist",
    ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
    debian="dataset-fashion-mnist",
)

_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}


def mnist(split: str = "train", folder: str | os.PathLike | None = None) -> IdxSource:
    """MNIST: handwritten digits, 28x28, 60,000 to train on and 10,000 to test.

    **Arguments:**

    - `split`: `"train"` or `"test"`.
    - `folder`: the folder of the four idx files, or the one above it. Without it, the
      folders in `SOFTSDE_DATA`, `~/.cache/softsde`, `/usr/share/datasets` and `./data`
      are searched in this order.

    **Returns:** a source of `(28, 28, 1)` images and ten classes.

    **Raises:** FileNotFoundError with the folders looked in and the commands that would
    bring the files; ValueError where a file is damaged.
    """
    names = [str(digit) for digit in range(10)]
    return _idx(_MNIST, split, folder, names)


def fashion_mnist(
    split: str = "train", folder: str | os.PathLike | None = None
) -> IdxSource:
    """Fashion-MNIST: garments, 28x28, 60,000 to train on and 10,000 to test.

    The Debian package `dataset-fashion-mnist` installs it where it is found.

    **Arguments, returns and raises:** as [`softsde.data.mnist`][].
    """
    names = (
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    )
    return _idx(_FASHION_MNIST, split, folder, names)


def _idx(known: _Known, split, folder, class_names: Sequence[str]) -> IdxSource:
    check_split(split)
    images, labels = _find(known, _IDX_FILES[split], folder)
    return IdxSource(images, labels, class_names=class_names)


def check_split(split: str) -> None:
    if split not in ("train", "test"):
        raise ValueError(f"`split` must be 'train' or 'test', got {split!r}.")


def search_roots() -> list[Path]:
    """The folders that may hold data sets, in the order of the search."""
    listed = os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
    return [
        *(Path(entry).expanduser() for entry in listed if entry),
        Path.home() / ".cache" / "softsde",
        Path("/usr/share/datasets"),
        Path("data"),
    ]


def _find(
    known: _Known, files: Sequence[str], folder: str | os.PathLike | None
) -> list[Path]:
    """The paths of `files`, each plain or with `.gz`, in the first folder with all."""
    if folder is None:
        candidates = [root / sub for root in search_roots() for sub in known.folders]
    else:
        given = Path(folder).expanduser()
        candidates = [given, *(given / sub for sub in known.folders)]
    report = []
    for candidate in candidates:
        found, lacking = [], []
        for file in files:
            plain, zipped = candidate / file, candidate / f"{file}.gz"
            if plain.is_file() or zipped.is_file():
                found.append(plain if plain.is_file() else zipped)
            else:
                lacking.append(file)
        if not lacking:
            return found
        why = f"lacks {', '.join(lacking)}" if candidate.is_dir() else "no such folder"
        report.append(f"  {candidate}: {why}")
    commands = [f"  {Path(sys.executable).name} -m softsde.data.download {known.name}"]
    if known.debian is not None:
        commands.insert(0, f"  apt-get install {known.debian}")
    raise FileNotFoundError(
        f"The data set {known.name!r} was not found. Looked in\n"
        + "\n".join(report)
        + "\nEither of these brings it:\n"
        + "\n".join(commands)
        + f"\nor set {ENVIRONMENT_VARIABLE} to a folder that holds "
        f"`{known.folders[0]}/`, or pass `folder=`."
    )

"""The data sets that everyone knows, found by name.

A name is looked up in an explicit list of folders; when it is in none of them, the
error says which were looked in, why each did not do, and what would bring the files.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from ._cifar import Cifar10Source
from ._idx import IdxSource

#: An environment variable: folders, separated as in PATH, each holding `mnist/`, ...
ENVIRONMENT_VARIABLE = "SOFTSDE_DATA"

#: Where Debian's dataset packages install.
SYSTEM_FOLDER = Path("/usr/share/datasets")


@dataclass(frozen=True)
class NamedDataSet:
    """The places of a data set below a root, and the files of its splits."""

    name: str
    folders: tuple[str, ...]
    files: dict[str, tuple[str, ...]]
    debian_package: str | None = None


_IDX_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

MNIST = NamedDataSet("mnist", ("mnist", "MNIST/raw"), _IDX_FILES)
FASHION_MNIST = NamedDataSet(
    "fashion_mnist",
    ("fashion-mnist", "fashion_mnist", "FashionMNIST/raw"),
    _IDX_FILES,
    debian_package="dataset-fashion-mnist",
)
CIFAR10 = NamedDataSet(
    "cifar10",
    ("cifar10", "cifar-10-batches-bin"),
    {
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    },
)


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
    images, labels = find_files(MNIST, split, folder)
    return IdxSource(images, labels, class_names=[str(digit) for digit in range(10)])


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
    images, labels = find_files(FASHION_MNIST, split, folder)
    return IdxSource(images, labels, class_names=names)


def cifar10(
    split: str = "train", folder: str | os.PathLike | None = None
) -> Cifar10Source:
    """CIFAR-10: small photographs, 32x32, 50,000 to train on and 10,000 to test.

    **Arguments:**

    - `split`: `"train"` or `"test"`.
    - `folder`: the folder of the binary version's `.bin` files, or the one above it.
      Without it, the folders that [`softsde.data.mnist`][] names are searched.

    **Returns:** a source of `(32, 32, 3)` images and ten classes.

    **Raises:** as [`softsde.data.mnist`][].
    """
    return Cifar10Source(find_files(CIFAR10, split, folder))


def search_roots() -> list[Path]:
    """The folders that may hold data sets, in the order of the search."""
    listed = os.environ.get(ENVIRONMENT_VARIABLE, "").split(os.pathsep)
    return [
        *(Path(entry).expanduser() for entry in listed if entry),
        Path.home() / ".cache" / "softsde",
        SYSTEM_FOLDER,
        Path("data"),
    ]


def find_files(
    data_set: NamedDataSet, split: str, folder: str | os.PathLike | None
) -> list[Path]:
    """The files of a split, plain or with `.gz`, in the first folder that has all."""
    if split not in data_set.files:
        raise ValueError(
            f"`split` must be one of {list(data_set.files)}, got {split!r}."
        )
    if folder is None:
        roots = search_roots()
        candidates = [root / name for root in roots for name in data_set.folders]
    else:
        given = Path(folder).expanduser()
        candidates = [given, *(given / name for name in data_set.folders)]
    report = []
    for candidate in candidates:
        found, lacking = [], []
        for file in data_set.files[split]:
            plain, zipped = candidate / file, candidate / f"{file}.gz"
            if plain.is_file() or zipped.is_file():
                found.append(plain if plain.is_file() else zipped)
            else:
                lacking.append(file)
        if not lacking:
            return found
        why = f"lacks {', '.join(lacking)}" if candidate.is_dir() else "no such folder"
        report.append(f"  {candidate}: {why}")
    commands = [f"  python -m softsde.data.download {data_set.name}"]
    if data_set.debian_package is not None:
        commands.append(f"  apt-get install {data_set.debian_package}")
    raise FileNotFoundError(
        f"The data set {data_set.name!r} was not found. Looked in\n"
        + "\n".join(report)
        + ("\nEither of these" if len(commands) > 1 else "\nThis")
        + " brings it:\n"
        + "\n".join(commands)
        + f"\nIf you have it, set {ENVIRONMENT_VARIABLE} to the folder that holds "
        f"`{data_set.folders[0]}/`, or pass `folder=`."
    )

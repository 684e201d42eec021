"""Fetches data sets from where they are published.

    python -m softsde.data.download mnist

Every file is checked against its SHA-256 before it gets its name, so a file that is
there is whole: an interrupted download leaves nothing behind that a source would read.
"""

import argparse
import hashlib
import http.client
import os
import shutil
import sys
import tarfile
import tempfile
import urllib.request
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ._named import (
    CIFAR10,
    ENVIRONMENT_VARIABLE,
    FASHION_MNIST,
    MNIST,
    NamedDataSet,
    search_roots,
)

_CHUNK = 1 << 16
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Recipe:
    """What to fetch for a data set, and from where.

    **Arguments:**

    - `data_set`: its name, and the folder and files that it shall have.
    - `mirrors`: base URLs, tried in turn.
    - `sha256`: the digest of every file to fetch. A `.tar.gz` is unpacked into the
      files of the data set, by their base names.
    """

    data_set: NamedDataSet
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


RECIPES = {
    recipe.data_set.name: recipe
    for recipe in (
        Recipe(
            MNIST,
            (
                "https://ossci-datasets.s3.amazonaws.com/mnist/",
                "https://storage.googleapis.com/cvdf-datasets/mnist/",
            ),
            {
                "train-images-idx3-ubyte.gz": (
                    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
                ),
                "train-labels-idx1-ubyte.gz": (
                    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
                ),
                "t10k-images-idx3-ubyte.gz": (
                    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"
                ),
                "t10k-labels-idx1-ubyte.gz": (
                    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"
                ),
            },
        ),
        Recipe(
            FASHION_MNIST,
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/"
                "master/data/fashion/",
            ),
            {
                "train-images-idx3-ubyte.gz": (
                    "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"
                ),
                "train-labels-idx1-ubyte.gz": (
                    "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"
                ),
                "t10k-images-idx3-ubyte.gz": (
                    "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"
                ),
                "t10k-labels-idx1-ubyte.gz": (
                    "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"
                ),
            },
        ),
        Recipe(
            CIFAR10,
            ("https://www.cs.toronto.edu/~kriz/",),
            {
                "cifar-10-binary.tar.gz": (
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
                ),
            },
        ),
    )
}


def download(recipe: Recipe, root: str | os.PathLike, *, progress: bool = True) -> Path:
    """Fetches what is lacking of a data set.

    **Arguments:**

    - `recipe`: what to fetch.
    - `root`: the folder under which the data set gets its own.
    - `progress`: whether to draw a bar on stderr.

    **Returns:** the data set's folder.

    **Raises:** OSError with every URL tried and why it failed, a wrong digest included.
    """
    folder = Path(root).expanduser() / recipe.data_set.folders[0]
    folder.mkdir(parents=True, exist_ok=True)
    for name, digest in recipe.sha256.items():
        target = folder / name
        if name.endswith(".tar.gz"):
            wanted = sum(recipe.data_set.files.values(), ())
            if all((folder / file).is_file() for file in wanted):
                continue
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                archive = Path(scratch) / name
                _fetch(recipe.mirrors, archive, digest, progress)
                _unpack(archive, wanted, folder)
        elif not (target.is_file() and _sha256(target) == digest):
            _fetch(recipe.mirrors, target, digest, progress)
    return folder


def _fetch(mirrors: Sequence[str], target: Path, digest: str, progress: bool) -> None:
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with (
                urllib.request.urlopen(url, timeout=_TIMEOUT) as response,
                _atomic(target) as file,
            ):
                size = response.headers.get("Content-Length")
                with tqdm(
                    total=None if size is None else int(size),
                    desc=target.name,
                    unit="B",
                    unit_scale=True,
                    disable=not progress,
                ) as bar:
                    sha256 = hashlib.sha256()
                    while chunk := response.read(_CHUNK):
                        sha256.update(chunk)
                        file.write(chunk)
                        bar.update(len(chunk))
                if sha256.hexdigest() != digest:
                    raise OSError(
                        f"its SHA-256 is {sha256.hexdigest()}, expected {digest}"
                    )
            return
        except (OSError, http.client.HTTPException) as error:
            failures.append(f"  {url}: {error}")
    raise OSError(f"Could not fetch {target.name}:\n" + "\n".join(failures))


def _unpack(archive: Path, wanted: Sequence[str], folder: Path) -> None:
    """Takes the wanted regular files out of a tar, wherever in it they lie.

    Members are copied by base name, never extracted by path: a tar may name any path.
    """
    lacking = set(wanted)
    with tarfile.open(archive, "r:gz") as tar:
        for member in tar:
            name = Path(member.name).name
            if name in lacking and member.isfile():
                content = tar.extractfile(member)
                assert content is not None
                with content, _atomic(folder / name) as file:
                    shutil.copyfileobj(content, file)
                lacking.remove(name)
    if lacking:
        raise OSError(f"{archive.name} holds no {', '.join(sorted(lacking))}.")


@contextmanager
def _atomic(target: Path):
    """A file that becomes `target` when the block ends well, and else never was."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Temporary files are private; data sets are for everyone on the machine.
        os.chmod(name, 0o644)
        os.replace(name, target)
    except BaseException:
        os.unlink(name)
        raise


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m softsde.data.download",
        description="Fetches a data set from where it is published, and checks it.",
    )
    parser.add_argument("name", choices=sorted(RECIPES))
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path("~/.cache/softsde"),
        help="where the data set's own folder goes (default: %(default)s)",
    )
    parser.add_argument(
        "--mirror",
        help="a base URL to fetch from instead of the published ones; the files must "
        "still be the published ones",
    )
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar")
    options = parser.parse_args(arguments)

    recipe = RECIPES[options.name]
    if options.mirror is not None:
        recipe = Recipe(recipe.data_set, (options.mirror,), recipe.sha256)
    try:
        folder = download(recipe, options.folder, progress=not options.quiet)
    except OSError as error:
        print(error, file=sys.stderr)
        if recipe.data_set.debian_package is not None:
            print(
                "On Debian and Ubuntu it is also in a package:\n"
                f"  apt-get install {recipe.data_set.debian_package}",
                file=sys.stderr,
            )
        return 1
    print(f"{options.name} is in {folder}")
    root = options.folder.expanduser()
    if root not in search_roots():
        print(f"For it to be found:\n  export {ENVIRONMENT_VARIABLE}={root.resolve()}")
    print(f'Load it with\n  softsde.data.load("{options.name}")')
    return 0


if __name__ == "__main__":
    sys.exit(main())

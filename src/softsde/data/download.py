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
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from .._files import atomically
from . import _named

_CHUNK = 1 << 16
_TIMEOUT = 60.0


@dataclass(frozen=True)
class _Recipe:
    """Names the files of a data set, and their addresses.

    A `.tar.gz` is unpacked into the files of the data set, by their base names.
    """

    data_set: _named.NamedDataSet
    mirrors: tuple[str, ...]  # base URLs, tried in turn
    sha256: dict[str, str]  # of every file to fetch


_RECIPES = {
    recipe.data_set.name: recipe
    for recipe in (
        _Recipe(
            _named.MNIST,
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
        _Recipe(
            _named.FASHION_MNIST,
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
        _Recipe(
            _named.CIFAR10,
            ("https://www.cs.toronto.edu/~kriz/",),
            {
                "cifar-10-binary.tar.gz": (
                    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
                ),
            },
        ),
    )
}


def download(
    name: str,
    folder: str | os.PathLike = "~/.cache/softsde",
    *,
    mirror: str | None = None,
    progress: bool = True,
) -> Path:
    """Fetches what is lacking of a data set.

    **Arguments:**

    - `name`: `"mnist"`, `"fashion_mnist"` or `"cifar10"`.
    - `folder`: where the data set's own folder goes; the default is searched by
      [`softsde.data.mnist`][] and the others.
    - `mirror`: a base URL to fetch from instead of the published ones. The files must
      be the published ones all the same.
    - `progress`: whether to draw a bar on stderr.

    **Returns:** the data set's own folder.

    **Raises:** ValueError for another name; OSError with every URL tried and why it
    failed, a wrong digest included.
    """
    if name not in _RECIPES:
        raise ValueError(f"`name` must be one of {sorted(_RECIPES)}, got {name!r}.")
    recipe = _RECIPES[name]
    mirrors = recipe.mirrors if mirror is None else (mirror,)
    own_folder = Path(folder).expanduser() / recipe.data_set.folders[0]
    own_folder.mkdir(parents=True, exist_ok=True)
    for file, digest in recipe.sha256.items():
        target = own_folder / file
        if file.endswith(".tar.gz"):
            wanted = sum(recipe.data_set.files.values(), ())
            if all((own_folder / part).is_file() for part in wanted):
                continue
            with tempfile.TemporaryDirectory(dir=own_folder) as scratch:
                archive = Path(scratch) / file
                _fetch(mirrors, archive, digest, progress)
                _unpack(archive, wanted, own_folder)
        elif not (target.is_file() and _sha256(target) == digest):
            _fetch(mirrors, target, digest, progress)
    return own_folder


def _fetch(mirrors: Sequence[str], target: Path, digest: str, progress: bool) -> None:
    failures = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{target.name}"
        try:
            with (
                urllib.request.urlopen(url, timeout=_TIMEOUT) as response,
                atomically(target) as file,
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
                with content, atomically(folder / name) as file:
                    shutil.copyfileobj(content, file)
                lacking.remove(name)
    if lacking:
        raise OSError(f"{archive.name} holds no {', '.join(sorted(lacking))}.")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m softsde.data.download",
        description="Fetches a data set from where it is published, and checks it.",
    )
    parser.add_argument("name", choices=sorted(_RECIPES))
    parser.add_argument(
        "--folder",
        default="~/.cache/softsde",
        help="where the data set's own folder goes (default: %(default)s)",
    )
    parser.add_argument(
        "--mirror",
        help="a base URL to fetch from instead of the published ones; the files must "
        "be the published ones all the same",
    )
    parser.add_argument("--quiet", action="store_true", help="draw no progress bar")
    options = parser.parse_args(arguments)
    try:
        own_folder = download(
            options.name,
            options.folder,
            mirror=options.mirror,
            progress=not options.quiet,
        )
    except OSError as error:
        print(error, file=sys.stderr)
        package = _RECIPES[options.name].data_set.debian_package
        if package is not None:
            print(
                "On Debian and Ubuntu it is also in a package:\n"
                f"  apt-get install {package}",
                file=sys.stderr,
            )
        return 1
    print(f"{options.name} is in {own_folder}")
    root = Path(options.folder).expanduser()
    if root not in _named.search_roots():
        print(
            "For it to be found:\n"
            f"  export {_named.ENVIRONMENT_VARIABLE}={root.resolve()}"
        )
    print(f'Load it with\n  softsde.data.load("{options.name}")')
    return 0


if __name__ == "__main__":
    sys.exit(_main())

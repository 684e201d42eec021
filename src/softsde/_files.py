"""Files that appear whole or not at all."""

import contextlib
import json
import os
import pathlib
import re
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]

# `pathlib` makes one slash of two.
_ADDRESS = re.compile(r"[a-z][a-z0-9+]+:/")


def is_address(path: PathLike) -> bool:
    """Tells an address, such as `gs://bucket/run`, from a path on a disk."""
    return bool(_ADDRESS.match(os.fspath(path)))


def open_address(owner: str, address: str) -> tuple[Any, str]:
    """The file system of an address, and the path within it.

    **Raises:** `ValueError` for an address that no installed package opens.
    """
    # Here, because few programs need it.
    import fsspec

    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise ValueError(
            f"`{owner}` cannot open {address}: {error}. Install the package of fsspec "
            "for it (`gcsfs` for gs://, `s3fs` for s3://), or give a folder."
        ) from error


def check_local(path: PathLike) -> None:
    """Refuses the address of a bucket, which would become a folder of that name here.

    **Raises:** `ValueError` for an address such as `gs://bucket/run`.
    """
    if is_address(path):
        raise ValueError(
            f"{os.fspath(path)} is an address, and files are written to disks. Give a "
            "folder, and keep a copy of it at the address: `--scale.mirror` of the "
            "command, `softsde.train.Mirror` in Python."
        )


@contextlib.contextmanager
def atomically(path: PathLike) -> Iterator[BinaryIO]:
    """Opens a binary file that becomes `path` when the block ends without an error.

    Until then, and after an error, `path` is what it was before. The folders above
    `path` are made. A file that is already there is replaced.

    !!! example

        ```python
        with atomically("run/levels.npz") as file:
            np.savez(file, levels=levels)
        ```
    """
    check_local(path)
    # A link stays a link: its target is what gets replaced.
    target = pathlib.Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within one file system. `open`
    # gives the file the modes that any new file gets; `tempfile` would make it private.
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            # The content must reach the disk before the name does, or a power cut
            # could leave an empty file under that name.
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: PathLike, content: bytes) -> None:
    """Writes `content` to `path`, atomically."""
    with atomically(path) as file:
        file.write(content)


def write_text(path: PathLike, content: str) -> None:
    """Writes `content` to `path` as UTF-8, atomically."""
    write_bytes(path, content.encode())


def write_json(path: PathLike, content: Any) -> None:
    """Writes plain data to `path` as indented JSON, atomically."""
    write_text(path, json.dumps(content, indent=1) + "\n")

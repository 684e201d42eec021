"""Files that appear whole or not at all."""

import contextlib
import json
import os
import pathlib
import uuid
from collections.abc import Iterator
from typing import Any, BinaryIO, TypeAlias

PathLike: TypeAlias = str | os.PathLike[str]


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

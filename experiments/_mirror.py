"""The copy of a run in a bucket, as commands make and fetch it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import softsde as ss

from . import _cli
from ._errors import CommandError, FolderError


def open_mirror(folder: Path, address: str) -> ss.train.Mirror:
    """The mirror. **Raises:** `CommandError` if no package opens the address."""
    try:
        return ss.train.Mirror(folder, address)
    except ValueError as error:
        raise CommandError(str(error)) from error


def fetch(mirror: ss.train.Mirror) -> int:
    """Fetches a run. **Raises:** `FolderError` if that cannot be done."""
    with plain(mirror), _cli.stage(f"Fetching {mirror.address}"):
        return mirror.pull()


def find(folder: Path, address: str | None) -> ss.train.Mirror | None:
    """The mirror of a run, by option or as the run folder remembers it.

    A run that is at the address and not in the folder is fetched.
    """
    if not ss.train.is_first_host():
        return None
    address = ss.train.mirrored_to(folder) if address is None else address
    if address is None:
        return None
    mirror = open_mirror(folder, address)
    with plain(mirror):
        away = mirror.exists() and not (folder / "config.json").exists()
    if away:
        fetch(mirror)
    return mirror


@contextlib.contextmanager
def keep(mirror: ss.train.Mirror | None, every: float) -> Iterator[None]:
    """Keeps the copy up to date within the block."""
    if mirror is None:
        yield
        return
    stack = contextlib.ExitStack()
    with plain(mirror):
        stack.enter_context(ss.train.Mirroring(mirror, every, _cli.say))
    # Errors of the block are not those of the copy.
    try:
        yield
    finally:
        with plain(mirror):
            stack.close()


@contextlib.contextmanager
def plain(mirror: ss.train.Mirror) -> Iterator[None]:
    """Says what a server or a disk answered in one paragraph."""
    try:
        yield
    # The packages of fsspec raise errors of their own kinds.
    except Exception as error:
        raise FolderError(
            f"The copy at {mirror.address}: {type(error).__name__}: {error}"
        ) from error

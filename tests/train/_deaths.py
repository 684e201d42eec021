"""Copies of a folder, each as a machine that died just then would have left it."""

import contextlib
import functools
import pathlib
import shutil
import sys
import threading
import zlib
from collections.abc import Iterator

# Of Python's own file operations, in whichever thread; each is announced before it
# happens. Hooks cannot be removed, so there is one, which is idle without a watch.
_EVENTS = ("open", "os.", "shutil.", "tempfile.")
_watches: list["_Watch"] = []


def _hook(event: str, args: tuple) -> None:
    if event.startswith(_EVENTS):
        for watch in _watches:
            watch.copy()


@functools.cache
def _install() -> None:
    sys.addaudithook(_hook)


class _Watch:
    def __init__(self, folder: pathlib.Path, target: pathlib.Path):
        self.folder, self.target = folder, target
        self.copies: list[pathlib.Path] = []
        self._last: object = None
        # Other threads wait before their next operation while one copies.
        self._lock = threading.Lock()
        self._copying = threading.local()

    def copy(self) -> None:
        if getattr(self._copying, "now", False):
            return
        self._copying.now = True
        try:
            with self._lock:
                self._copy()
        finally:
            self._copying.now = False

    def _copy(self) -> None:
        place = self.target / f"{len(self.copies):04d}"
        found = []
        for path in sorted(self.folder.rglob("*")):
            copied = place / path.relative_to(self.folder)
            # What is written by threads of C++ may vanish meanwhile.
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                if path.is_dir():
                    copied.mkdir(parents=True, exist_ok=True)
                    found.append((str(path), None))
                else:
                    content = path.read_bytes()
                    copied.parent.mkdir(parents=True, exist_ok=True)
                    copied.write_bytes(content)
                    found.append((str(path), zlib.crc32(content)))
        if found == self._last:
            shutil.rmtree(place, ignore_errors=True)
            return
        place.mkdir(parents=True, exist_ok=True)
        self._last = found
        self.copies.append(place)


@contextlib.contextmanager
def deaths(folder: pathlib.Path, target: pathlib.Path) -> Iterator[list[pathlib.Path]]:
    """Copies `folder` before every file operation, while the block runs.

    A thread of its own copies it also between those operations, for files that are
    written by other than Python. Copies that equal the one before are left out.
    """
    watch = _Watch(folder, target)
    _install()
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.001):
            watch.copy()

    thread = threading.Thread(target=look)
    _watches.append(watch)
    thread.start()
    try:
        yield watch.copies
    finally:
        stop.set()
        thread.join()
        _watches.remove(watch)

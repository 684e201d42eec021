"""A copy of a run elsewhere: in a bucket, or wherever fsspec can write."""

import contextlib
import json
import os
import shutil
import threading
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from .._files import open_address, write_json

_FORMAT = 1
#: The list of the files that belong together. It is written last, so a copy that was
#: cut short is as if it had not begun.
_LIST = "mirror.json"
#: In the names of what is not whole yet.
_UNFINISHED = ".orbax-checkpoint-tmp"
#: How often a push begins anew because files vanished while they were copied.
_TRIES = 5


class Mirror:
    """Keeps a copy of a folder at an address, and brings it back.

    A run writes to a disk, whose files can be locked and renamed at once. A bucket
    (`gs://`, `s3://`) can do neither, and outlives the machine: a mirror takes what is
    whole on the disk there. Checkpoints that are being written are left for the next
    time. A copy that was cut short leaves the one before: a list of its files,
    `mirror.json`, is written last.

    The folder and its copy know each other by a number. Another run's copy is neither
    overwritten nor fetched into the folder.

    **Arguments:**

    - `folder`: the folder on this machine.
    - `address`: for `fsspec`, such as `gs://bucket/runs/blur`, or a folder. Packages
        of fsspec open it: `gcsfs` for `gs://`, `s3fs` for `s3://`. They read who you
        are from the environment.

    **Raises:** `ValueError` for an address that no installed package opens.

    !!! Example

        ```{ .python .no-run }
        mirror = ss.train.Mirror("runs/blur", "gs://bucket/runs/blur")
        mirror.push()  # what is new
        ss.train.Mirror("runs/again", "gs://bucket/runs/blur").pull()
        ```
    """

    def __init__(self, folder: str | os.PathLike, address: str | os.PathLike):
        self.folder = Path(folder)
        self.address = os.fspath(address).rstrip("/")
        self._files, root = open_address("Mirror", self.address)
        self._root = PurePosixPath(root)
        self._made: set[PurePosixPath] = set()

    def exists(self) -> bool:
        """Tells whether there is a whole copy at the address."""
        return bool(self._files.exists(str(self._root / _LIST)))

    def push(self) -> int:
        """Copies what is new in the folder, and then drops what is gone.

        **Returns:** how many files were copied.

        **Raises:** `ValueError` if the address holds a copy of another folder, or one
        that another machine went on with; `OSError` if it cannot be written to.
        """
        own = _own(self.folder) or {"run": uuid.uuid4().hex, "copies": 0}
        known = self._known(own) if self.exists() else {}
        new: list[str] = []
        for _ in range(_TRIES):
            try:
                found = self._local()
                new = [name for name in found if found[name] != known.get(name)]
                for name in new:
                    self._put(name)
                    known[name] = found[name]
                break
            except FileNotFoundError:
                # Newer checkpoints replace older ones meanwhile. But it may also be
                # the bucket that is not there.
                if all((self.folder / name).exists() for name in new):
                    raise
        else:
            raise OSError(
                f"Files of {self.folder} vanished whenever they were copied to "
                f"{self.address}."
            )
        gone = known.keys() - found.keys()
        if new or gone:
            own = {"run": own["run"], "copies": own["copies"] + 1}
            # Here first: a machine that dies in between is not behind its own copy.
            write_json(self.folder / _LIST, {"address": self.address, **own})
            content = json.dumps({"format": _FORMAT, **own, "files": found})
            self._make(self._root)
            self._files.pipe_file(str(self._root / _LIST), content.encode())
        for name in gone:
            target = str(self._root / name)
            if self._files.exists(target):
                self._files.rm_file(target)
        return len(new)

    def pull(self) -> int:
        """Fetches the copy into the folder, which must be empty or absent.

        **Returns:** how many files were fetched.

        **Raises:** `FileNotFoundError` if there is no copy; `ValueError` if the folder
        holds anything; `OSError` if a file of a checkpoint is not what it was.
        """
        if not self.exists():
            raise FileNotFoundError(f"There is no copy of a run at {self.address}.")
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ValueError(
                f"{self.folder} is not empty. Fetch {self.address} into another folder."
            )
        remote = self._remote()
        # Beside the folder, and renamed when whole.
        part = self.folder.with_name(f".{self.folder.name}.{uuid.uuid4().hex}")
        try:
            for name, (size, changed) in remote["files"].items():
                target = part / name
                target.parent.mkdir(parents=True, exist_ok=True)
                self._files.get_file(str(self._root / name), str(target))
                # Other files may have been replaced since the list was written.
                if "checkpoints/" in name and target.stat().st_size != size:
                    raise OSError(
                        f"{name} at {self.address} has {target.stat().st_size} bytes; "
                        f"expected {size}. The copy is damaged."
                    )
                # Else the next push would copy all of it back.
                os.utime(target, ns=(changed, changed))
            part.mkdir(exist_ok=True)
            own = {"run": remote["run"], "copies": remote["copies"]}
            write_json(part / _LIST, {"address": self.address, **own})
            if self.folder.exists():
                self.folder.rmdir()
            os.replace(part, self.folder)
        finally:
            shutil.rmtree(part, ignore_errors=True)
        return len(remote["files"])

    def _known(self, own: dict[str, Any]) -> dict[str, list[int]]:
        """The files at the address, if this folder may replace them."""
        remote = self._remote()
        if remote["run"] != own["run"]:
            raise ValueError(
                f"{self.address} holds a copy of another folder than {self.folder}. "
                "Choose another address, or fetch that copy into a new folder."
            )
        if remote["copies"] > own["copies"]:
            raise ValueError(
                f"The copy at {self.address} is newer than {self.folder}: another "
                "machine went on from it. Move the folder away, and fetch the copy."
            )
        return remote["files"]

    def _remote(self) -> dict[str, Any]:
        content = json.loads(self._files.cat_file(str(self._root / _LIST)))
        if content.get("format") != _FORMAT:
            raise ValueError(
                f"{self.address}/{_LIST} has the format {content.get('format')!r}; "
                f"expected {_FORMAT}. Another version of softsde wrote it."
            )
        return content

    def _local(self) -> dict[str, list[int]]:
        """Size and time of change of each file that is whole."""
        found = {}
        # `os.walk` passes over folders that vanish meanwhile; `rglob` does not.
        for folder, _, files in os.walk(self.folder):
            for file in files:
                path = Path(folder) / file
                name = path.relative_to(self.folder).as_posix()
                hidden = any(part.startswith(".") for part in name.split("/"))
                if hidden or _UNFINISHED in name or name == _LIST:
                    continue
                with contextlib.suppress(FileNotFoundError):
                    status = path.stat()
                    found[name] = [status.st_size, status.st_mtime_ns]
        return found

    def _put(self, name: str) -> None:
        target = self._root / name
        self._make(target.parent)
        self._files.put_file(str(self.folder / name), str(target))

    def _make(self, folder: PurePosixPath) -> None:
        # Buckets have no folders; disks must have them.
        if folder not in self._made:
            self._files.makedirs(str(folder), exist_ok=True)
            self._made.add(folder)


def mirrored_to(folder: str | os.PathLike) -> str | None:
    """The address at which a folder has a copy, or `None`.

    !!! Example

        ```python
        assert ss.train.mirrored_to("a_folder_without_a_copy") is None
        ```
    """
    own = _own(Path(folder))
    return None if own is None else own["address"]


def _own(folder: Path) -> dict[str, Any] | None:
    """Reads which copy the folder has: address, number, and how often it was made."""
    path = folder / _LIST
    return json.loads(path.read_text()) if path.exists() else None


class Mirroring:
    """Pushes a mirror every so many seconds, beside the training, and at the end.

    A push that fails is told of by a warning and tried again the next time. The last
    one raises its error.

    **Arguments:**

    - `mirror`: the mirror.
    - `every`: seconds between two pushes.
    - `say`: is given one line for each that failed; by default `warnings.warn`.

    !!! Example

        ```{ .python .no-run }
        mirror = ss.train.Mirror("runs/blur", "gs://bucket/runs/blur")
        with ss.train.Mirroring(mirror):
            ss.train.fit(state, loader, step, num_steps=1000, folder="runs/blur")
        ```
    """

    def __init__(
        self,
        mirror: Mirror,
        every: float = 60.0,
        say: Callable[[str], None] | None = None,
    ):
        if not every > 0:
            raise ValueError(f"`Mirroring` got `every={every}`; expected more than 0.")
        self.mirror, self.every = mirror, every
        self._say = warnings.warn if say is None else say
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, daemon=True)

    def __enter__(self) -> "Mirroring":
        # What would fail later fails before the first step.
        self.mirror.push()
        self._thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop.set()
        self._thread.join()
        self.mirror.push()

    def _loop(self) -> None:
        while not self._stop.wait(self.every):
            try:
                self.mirror.push()
            # Whatever a server may answer: the files are still on the disk.
            except Exception as error:
                self._say(
                    f"The copy at {self.mirror.address} was not renewed "
                    f"({type(error).__name__}: {error}). It is tried again."
                )

"""One writer for each folder of checkpoints."""

from pathlib import Path
from typing import IO

from ._hosts import is_first_host

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None

_NAME = ".lock"


def lock(folder: Path) -> IO | None:
    """A lock on the folder that ends with the process, however it ends."""
    if not is_first_host():
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / _NAME, "w")
    if fcntl is None:
        return file
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RuntimeError(
            f"{folder} is in use: a run is writing its checkpoints there. Wait for it, "
            "stop it, or choose another folder; `Checkpointer(..., read_only=True)` "
            "can read while it writes."
        ) from None
    except OSError:
        pass  # A file system without locks.
    return file


def was_locked(folder: Path) -> bool:
    """Whether a run has opened the folder for writing before, or does so now."""
    return (folder / _NAME).exists()

"""One writer for each folder of checkpoints."""

import os
from pathlib import Path
from typing import IO

from .._files import check_local
from ._hosts import is_first_host

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None

_NAME = ".lock"


def lock(folder: str | os.PathLike) -> IO | None:
    """A lock on a folder that ends with the process, however it ends.

    **Arguments:**

    - `folder`: made if absent. A file `.lock` in it is what is locked.

    **Returns:** the open file, which must be kept and closed; `None` on hosts other
    than the first.

    **Raises:** `RuntimeError` if another process holds the lock; `ValueError` for the
    address of a bucket.

    !!! Example

        ```python
        file = ss.train.lock("run")
        if file is not None:
            file.close()
        ```
    """
    check_local(folder)
    folder = Path(folder)
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
            f"{folder} is in use: a run is writing there. Wait for it, stop it, or "
            "choose another folder; `Checkpointer(..., read_only=True)` can read "
            "checkpoints while it writes."
        ) from None
    except OSError:
        pass  # A file system without locks.
    return file


def was_locked(folder: Path) -> bool:
    """Tells whether a run has opened the folder for writing before, or does so now."""
    return (folder / _NAME).exists()

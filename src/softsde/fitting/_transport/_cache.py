"""A file from which an interrupted computation continues."""

import hashlib
import os
import zipfile
from typing import Any

import jax
import numpy as np

from ..._files import atomically


def fingerprint(inputs: Any, settings: tuple) -> str:
    """A hash of everything that a result depends on: arrays and plain values."""
    leaves, structure = jax.tree.flatten(inputs)
    digest = hashlib.sha256(f"{structure} {settings}".encode())
    for leaf in leaves:
        array = np.asarray(leaf)
        digest.update(f"{array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def save_state(path: str, identity: str, state) -> None:
    """Writes the arrays of a named tuple, atomically."""
    with atomically(path) as file:
        np.savez(file, identity=np.array(identity), **state._asdict())


def load_state(path: str, identity: str, state):
    """The state in the file, or `state` if there is no file.

    **Raises:** `ValueError` for a file that is damaged, or was written from other
    inputs. It may hold hours of work, so it is not overwritten.
    """
    if not os.path.exists(path):
        return state
    try:
        with open(path, "rb") as file, np.load(file) as archive:
            found = str(archive["identity"])
            arrays = {name: archive[name] for name in state._fields}
    except (
        OSError,
        ValueError,
        KeyError,
        EOFError,
        AttributeError,
        zipfile.BadZipFile,
    ) as error:
        raise ValueError(
            f"The cache {path!r} is damaged, or not a cache of transport distances "
            f"({error}). Delete it to compute it again, or name another file."
        ) from error
    if found != identity:
        raise ValueError(
            f"The cache {path!r} was written for another corruption, other levels, "
            "data, key or settings. Delete it to compute it again, or name another "
            "file."
        )
    return type(state)(**arrays)

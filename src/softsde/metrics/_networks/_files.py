"""Weight files: their checksums and their arrays, without running anything in them."""

import hashlib
import os
import pathlib
from typing import Any

import numpy as np
import safetensors.numpy

from ..._torch import read_torch


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a weight file by name: safetensors, PyTorch's formats, or a pickle.

    Nested dictionaries are joined by dots: `{"VGG16_0.Conv_0.kernel": array, ...}`.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for a file that is
    not readable as one of these, or that holds anything but arrays.
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        tree, arrays = read_torch(path), {}
        try:
            _flatten(tree, "", arrays)
        except ValueError as error:
            raise ValueError(
                f"{path} is not a file of arrays alone: {error} If you trust the file, "
                "load it with PyTorch and save its `state_dict()`."
            ) from error
        return arrays
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}). Download it again."
        ) from error


def _flatten(tree: Any, name: str, arrays: dict[str, np.ndarray]) -> None:
    """Collects the arrays of nested dictionaries, in their order."""
    if isinstance(tree, np.ndarray):
        # In the byte order of this machine, which JAX asks for.
        arrays[name] = tree.astype(tree.dtype.newbyteorder("="), copy=False)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            _flatten(value, f"{name}.{key}" if name else str(key), arrays)
    else:
        raise ValueError(f"{name or 'the whole'} is a {type(tree).__name__}.")


def check_sha256(path: str | os.PathLike, found: str, expected: str | None) -> None:
    """Refuses a file whose checksum does not begin with `expected`.

    **Raises:** `ValueError` that names both checksums.
    """
    if expected is not None and not found.startswith(expected.lower()):
        raise ValueError(
            f"{path} has the SHA-256 {found}, but one that begins with {expected} is"
            " expected: the file is damaged, or another one. Download it again, or pass"
            " `sha256=None` to take it as it is; results then name its own checksum."
        )

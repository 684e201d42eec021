"""Weight files: their checksums and their arrays, without running anything in them."""

import hashlib
import os
import pathlib

import numpy as np
import safetensors.numpy

from ..._torch_file import read_torch_file


def sha256_of(path: str | os.PathLike) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a weight file by name: safetensors, or PyTorch's own formats.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for a file that is
    not readable as one of these, or that holds anything but arrays.
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors":
        return read_torch_file(path)
    try:
        return safetensors.numpy.load_file(path)
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}). Download it again."
        ) from error


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

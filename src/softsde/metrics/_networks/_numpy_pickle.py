"""Arrays out of a pickle of nested dictionaries of NumPy arrays, and nothing else."""

import io
import os
import pathlib
from typing import Any

import numpy as np

from ..._safe_pickle import SafeUnpickler

_KINDS = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"}


class _Dtype:
    """Stands for `numpy.dtype` while reading: a plain number of a known width."""

    def __init__(self, kind: Any = None, *_: Any):
        if kind not in _KINDS:
            raise ValueError(f"it holds an array of dtype {kind!r}")
        self.dtype = np.dtype(kind)

    def __setstate__(self, state: tuple) -> None:
        # (version, byte order, subarray, names, fields, ...)
        order, rest = state[1], state[2:5]
        if any(part is not None for part in rest):
            raise ValueError("it holds an array of records")
        if order in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for `numpy.ndarray` while reading, and becomes one from raw bytes."""

    def __init__(self):
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise ValueError("it holds an array that is not of plain numbers")
        order = "F" if by_columns else "C"
        array = np.frombuffer(content, dtype.dtype).reshape(shape, order=order)
        self.array = array.astype(dtype.dtype.newbyteorder("="))


def _new_array(*_: Any) -> _Array:
    return _Array()


_NAMES = {
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy._core.multiarray", "_reconstruct"): _new_array,
    # The class itself is only ever passed on.
    ("numpy", "ndarray"): _new_array,
    ("numpy", "dtype"): _Dtype,
}


def read_numpy_pickle(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a pickle, by the keys that lead to them, joined by dots.

    **Arguments:**

    - `path`: a pickle of dictionaries of dictionaries of arrays.

    **Returns:** `{"VGG16_0.Conv_0.kernel": array, ...}`.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for a file that is
    damaged or holds anything but arrays of numbers. Nothing in the file is run.
    """
    content = pathlib.Path(path).read_bytes()
    try:
        tree = SafeUnpickler(io.BytesIO(content), _NAMES).load()
        arrays: dict[str, np.ndarray] = {}
        _flatten(tree, "", arrays)
    except Exception as error:
        # Whatever bytes can do to a reader of pickles, they are no weight file.
        raise ValueError(
            f"{os.fspath(path)} is not a pickle of NumPy arrays alone: {error}. Only"
            " dictionaries of arrays are read, because a pickle can run any program."
        ) from error
    return arrays


def _flatten(tree: Any, prefix: str, arrays: dict[str, np.ndarray]) -> None:
    if isinstance(tree, _Array):
        arrays[prefix] = tree.array
    elif isinstance(tree, dict):
        for key, value in tree.items():
            _flatten(value, f"{prefix}.{key}" if prefix else str(key), arrays)
    else:
        raise ValueError(f"{prefix or 'the whole'} is a {type(tree).__name__}")

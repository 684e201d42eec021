"""PyTorch's weight files, read without PyTorch and without running what they hold."""

import io
import math
import os
import pathlib
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ._safe_pickle import SafeUnpickler

# The first number of a file in the format from before PyTorch 1.6.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "BFloat16Storage": np.dtype(jnp.bfloat16),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


def read_torch_file(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays of a file that `torch.save` wrote, by name.

    Both formats are read: the zip archive, and the stream of pickles from before
    PyTorch 1.6. Nested dictionaries are joined by dots. Nothing in the file is run:
    names other than those of tensors and dictionaries are refused.

    **Arguments:**

    - `path`: a `.pth`, `.pt` or `.bin` file that holds a state dictionary.

    **Returns:** arrays by the names in the file, in its order and its dtypes.

    **Raises:** `FileNotFoundError` without the file; `ValueError` for a file that is
    damaged, of another kind, or holds anything but tensors.
    """
    path = pathlib.Path(path)
    with open(path, "rb") as file:
        try:
            tree = _read_zip(file) if zipfile.is_zipfile(file) else _read_stream(file)
            arrays: dict[str, np.ndarray] = {}
            _flatten(tree, "", arrays)
        except Exception as error:
            # Whatever else bytes can do to a reader, they are no weight file.
            raise ValueError(
                f"{path} is not a PyTorch file of tensors alone: {error}. Only"
                " dictionaries of tensors are read, because a pickle can run any"
                " program. If you trust the file, load it with PyTorch and save its"
                " `state_dict()`."
            ) from error
    return arrays


class _Dictionary(dict):
    """Stands for `OrderedDict`; the attributes that PyTorch gives one are dropped."""

    def __setstate__(self, state: Any) -> None:
        pass


class _Storage:
    """A row of numbers that tensors are views of."""

    __slots__ = ("count", "dtype", "row")

    def __init__(self, dtype: np.dtype, count: int):
        self.dtype, self.count = dtype, count
        self.row: np.ndarray | None = None

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a storage")


class _Tensor:
    """A view of a storage, which becomes an array once all of the file is read."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(
        self,
        storage: Any,
        offset: Any,
        shape: Any,
        strides: Any,
        *_: Any,
    ):
        numbers = [offset, *shape, *strides]
        if (
            type(storage) is not _Storage
            or len(shape) != len(strides)
            or not all(type(number) is int and number >= 0 for number in numbers)
        ):
            raise ValueError("it holds a tensor that is not a view of numbers")
        self.storage, self.offset = storage, offset
        self.shape, self.strides = tuple(shape), tuple(strides)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a tensor")

    def array(self) -> np.ndarray:
        row = self.storage.row
        if row is None:
            raise ValueError("a storage is missing")
        last = self.offset + sum(
            (length - 1) * stride
            for length, stride in zip(self.shape, self.strides, strict=True)
        )
        if math.prod(self.shape) and last >= len(row):
            raise ValueError("a tensor reaches beyond its storage")
        view = np.lib.stride_tricks.as_strided(
            row[self.offset :],
            self.shape,
            [stride * row.itemsize for stride in self.strides],
        )
        # A view with stride 0 may be far larger than the file.
        if view.size > len(row):
            raise ValueError("a tensor is larger than its storage")
        return np.ascontiguousarray(view).reshape(self.shape)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): _Dictionary,
    ("torch._utils", "_rebuild_tensor"): _Tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _Tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    ("torch", "Size"): tuple,
}


def _storage_class(dtype: np.dtype) -> Callable[..., np.dtype]:
    return lambda *_: dtype


_STORAGES = {("torch", name): _storage_class(dtype) for name, dtype in _DTYPES.items()}


def _load(file: io.BufferedReader | io.BytesIO, storages: dict[str, _Storage]) -> Any:
    """One pickle, whose references to storages are collected in `storages`."""

    def storage(reference: Any) -> _Storage:
        tag, make_dtype, key, _, count, *rest = reference
        if tag != "storage" or type(key) is not str or any(rest):
            raise ValueError(f"it refers to {tag!r} data")
        dtype = make_dtype()
        if not isinstance(dtype, np.dtype) or type(count) is not int or count < 0:
            raise ValueError("it holds a storage that is not of plain numbers")
        found = storages.setdefault(key, _Storage(dtype, count))
        if (found.dtype, found.count) != (dtype, count):
            raise ValueError(f"it describes its storage {key} in two ways")
        return found

    return SafeUnpickler(file, _NAMES | _STORAGES, storage).load()


def _read_zip(file: io.BufferedReader | io.BytesIO) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = {info.filename: info for info in archive.infolist()}
        tops = [name for name in members if name.count("/") == 1]
        pickles = [name for name in tops if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("there is no `data.pkl` in the archive")
        folder = pickles[0].removesuffix("data.pkl")
        order = f"{folder}byteorder"
        if order in members and archive.read(order) != b"little":
            raise ValueError("its numbers are not little-endian")
        storages: dict[str, _Storage] = {}
        tree = _load(io.BytesIO(archive.read(pickles[0])), storages)
        for key, storage in storages.items():
            name = f"{folder}data/{key}"
            if name not in members:
                raise ValueError(f"its storage {key} is missing")
            expected = storage.count * storage.dtype.itemsize
            # Seen before it is read, since a small archive may unpack to a huge one.
            if members[name].file_size != expected:
                raise ValueError(f"its storage {key} is cut short")
            storage.row = np.frombuffer(archive.read(name), storage.dtype)
    return tree


def _read_stream(file: io.BufferedReader | io.BytesIO) -> Any:
    file.seek(0)
    if SafeUnpickler(file, {}).load() != _MAGIC:
        raise ValueError("it does not begin as one")
    if SafeUnpickler(file, {}).load() != _PROTOCOL:
        raise ValueError("it is of an unknown protocol")
    if not SafeUnpickler(file, {}).load().get("little_endian", True):
        raise ValueError("its numbers are not little-endian")
    storages: dict[str, _Storage] = {}
    tree = _load(file, storages)
    for key in SafeUnpickler(file, {}).load():
        if key not in storages:
            raise ValueError(f"nothing reads its storage {key}")
        storage = storages[key]
        count = int.from_bytes(_exactly(file, 8), "little")
        if count != storage.count:
            raise ValueError(f"its storage {key} has a wrong length")
        content = _exactly(file, count * storage.dtype.itemsize)
        storage.row = np.frombuffer(content, storage.dtype)
    return tree


def _exactly(file: io.BufferedReader | io.BytesIO, size: int) -> bytes:
    # Compared with what is left first: a hostile length asks for no memory.
    here = file.tell()
    left = file.seek(0, os.SEEK_END) - here
    file.seek(here)
    if size > left:
        raise ValueError("it is cut short")
    return file.read(size)


def _flatten(tree: Any, prefix: str, arrays: dict[str, np.ndarray]) -> None:
    agenda: list[tuple[str, Any, int]] = [(prefix, tree, 0)]
    while agenda:
        name, value, depth = agenda.pop()
        if isinstance(value, _Tensor):
            arrays[name] = value.array()
        elif isinstance(value, dict) and depth < 10:
            children: Sequence[tuple[str, Any, int]] = [
                (f"{name}.{key}" if name else str(key), child, depth + 1)
                for key, child in value.items()
            ]
            agenda.extend(reversed(children))
        else:
            raise ValueError(f"{name or 'the whole'} is a {type(value).__name__}")

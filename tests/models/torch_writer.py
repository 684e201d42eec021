"""Writes the files of torch operation by operation, from the documented format.

It shares nothing with the reader, and uses neither torch nor the `pickle` module.
"""

import dataclasses
import io
import struct
import zipfile
from typing import Any

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
KINDS = {
    "float64": "Double",
    "float32": "Float",
    "float16": "Half",
    "bfloat16": "BFloat16",
    "int64": "Long",
    "int32": "Int",
    "int16": "Short",
    "int8": "Char",
    "uint8": "Byte",
    "bool": "Bool",
    "complex64": "ComplexFloat",
    "complex128": "ComplexDouble",
}


@dataclasses.dataclass(frozen=True)
class Name:
    """The name of a class or a function."""

    text: str


@dataclasses.dataclass(frozen=True)
class Call:
    """An object: what is called, with what, and the state it gets."""

    name: str
    arguments: Any = ()
    state: Any = None


@dataclasses.dataclass(frozen=True)
class Persistent:
    """Something outside of the pickle."""

    identifier: Any


@dataclasses.dataclass(frozen=True)
class Raw:
    """Operations as they are."""

    content: bytes


@dataclasses.dataclass(eq=False)
class Storage:
    """A row of numbers."""

    numbers: np.ndarray

    @property
    def kind(self) -> Name:
        return Name(f"torch.{KINDS[self.numbers.dtype.name]}Storage")


@dataclasses.dataclass(frozen=True)
class Tensor:
    """A view of a storage."""

    storage: Storage
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int = 0


def tensor(array: np.ndarray) -> Tensor:
    """A tensor with a storage of its own, in row order."""
    array = np.ascontiguousarray(array).reshape(np.shape(array))
    stride = tuple(step // array.itemsize for step in array.strides)
    return Tensor(Storage(array.reshape(-1)), array.shape, stride)


def text(value: str) -> bytes:
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def encode(value: Any, persistent=lambda storage: storage) -> bytes:
    """The operations that make a value. `persistent` says how storages are written."""
    again = lambda part: encode(part, persistent)
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, int):
        size = (value.bit_length() + 8) // 8
        return b"\x8a" + bytes([size]) + value.to_bytes(size, "little", signed=True)
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, str):
        return text(value)
    if isinstance(value, bytes):
        return b"B" + struct.pack("<I", len(value)) + value
    if isinstance(value, tuple):
        return b"(" + b"".join(map(again, value)) + b"t"
    if isinstance(value, list):
        return b"](" + b"".join(map(again, value)) + b"e"
    if isinstance(value, dict):
        pairs = b"".join(again(k) + again(v) for k, v in value.items())
        return b"}(" + pairs + b"u"
    if isinstance(value, Name):
        module, _, name = value.text.rpartition(".")
        return b"c" + f"{module}\n{name}\n".encode()
    if isinstance(value, Call):
        made = again(Name(value.name)) + again(tuple(value.arguments)) + b"R"
        return made if value.state is None else made + again(value.state) + b"b"
    if isinstance(value, Persistent):
        return again(value.identifier) + b"Q"
    if isinstance(value, Storage):
        return again(persistent(value))
    if isinstance(value, Tensor):
        arguments = (value.storage, value.offset, value.size, value.stride, False)
        hooks = Call("collections.OrderedDict")
        return again(Call("torch._utils._rebuild_tensor_v2", (*arguments, hooks)))
    assert isinstance(value, Raw), value
    return value.content


def pickled(value: Any, persistent=lambda storage: storage, protocol: int = 2) -> bytes:
    return b"\x80" + bytes([protocol]) + encode(value, persistent) + b"."


def _numbered(*extra: Any):
    """Storages in the order of their first use, and how to write one."""
    order: list[Storage] = []

    def persistent(storage: Storage) -> Persistent:
        if storage not in order:
            order.append(storage)
        key, size = str(order.index(storage)), storage.numbers.size
        return Persistent(("storage", storage.kind, key, "cpu", size, *extra))

    return order, persistent


def archive(value: Any, *, change=lambda entries: None, **options: Any) -> bytes:
    """A file as torch writes it since 1.6. `change` gets its entries."""
    order, persistent = _numbered()
    entries = {"net/data.pkl": pickled(value, persistent), "net/byteorder": b"little"}
    for i, storage in enumerate(order):
        entries[f"net/data/{i}"] = storage.numbers.tobytes()
    entries["net/version"] = b"3\n"
    change(entries)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return file.getvalue()


def header(protocol: int = 1001, little: bool = True) -> bytes:
    system = {"protocol_version": protocol, "little_endian": little, "type_sizes": {}}
    return pickled(MAGIC) + pickled(protocol) + pickled(system)


def old(value: Any, *, first: bytes | None = None, reverse: bool = False) -> bytes:
    """An old-style file, with its storages in the order of use or in reverse."""
    order, persistent = _numbered(None)
    body = pickled(value, persistent)
    keys = [str(i) for i in range(len(order))][:: -1 if reverse else 1]
    parts = [first or header(), body, pickled(keys)]
    for key in keys:
        numbers = order[int(key)].numbers
        parts += [struct.pack("<q", numbers.size), numbers.tobytes()]
    return b"".join(parts)


def plain(value: Any) -> bytes:
    """A plain pickle; each storage in it is an old-style file as bytes."""

    def persistent(storage: Storage) -> Call:
        return Call("torch.storage._load_from_bytes", (old(storage),))

    return pickled(value, persistent, protocol=3)


WRITERS = {"archive": archive, "old": old, "plain": plain}

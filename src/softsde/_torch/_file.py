"""From a file to tensors: the three ways in which torch has written files.

| kind | how it begins | where the numbers are |
| --- | --- | --- |
| archive, since torch 1.6 | a zip archive | one entry each, not compressed |
| old-style, before that | a pickled magic number | at the end, in the order of a list |
| plain pickle, as in EDM | a pickle | in the pickle, each an old-style file |
"""

import mmap
import os
import pathlib
import struct
import zipfile
from typing import Any, BinaryIO

import numpy as np

from .._files import PathLike
from ._inert import Inert
from ._limits import Limits, short
from ._machine import Machine, Slot
from ._rebuild import Names, Storage, storage_dtype

_MAGIC = 0x1950A86A20F9469CFC6C
_MAGIC_PICKLED = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_OLD_PROTOCOL = 1001
_DEEPEST = 200
_MOST_VALUES = 10_000_000
_PLAIN = (str, bytes, bool, int, float, complex, np.ndarray, np.generic)


def read_torch(path: PathLike, *, inert: bool = False) -> Any:
    """The content of a file that torch or `pickle` wrote, without running any of it.

    Tensors, NumPy arrays of numbers, and plain containers (lists, tuples, dictionaries,
    sets, texts, numbers) are read; a file that names anything else is refused. Neither
    torch nor Python's unpickler is used, and nothing is imported by a name in the file.
    Sizes, strides and offsets are checked against what the file holds, and a small
    file cannot ask for much memory.

    **Arguments:**

    - `path`: a `.pth`, `.pt`, `.ckpt` or `.pkl`: an archive, an old-style file, or a
        plain pickle with tensors in it.
    - `inert`: what becomes of other objects, such as the networks in the pickles of
        EDM, which carry their source. By default they are refused. With `True` they
        become records, [`softsde.models.Inert`][]: a name and data, of which nothing is
        called. [`softsde.models.module_state`][] finds the parameters in them.

    **Returns:** nested containers of NumPy arrays. The arrays are read-only, and share
    memory where the tensors did. bfloat16 and float8 are the dtypes of `ml_dtypes`, as
    JAX has them.

    **Raises:** `FileNotFoundError`; `ValueError` for a file that is refused, damaged,
    cut short or of another kind.

    !!! example

        ```{ .python .no-run }
        checkpoint = ss.models.read_torch("checkpoint_24.pth")
        checkpoint["model"]["module.all_modules.3.weight"].shape
        ```

    ??? cite "Reference"

        The format of a pickle is documented by `pickletools` of the standard library,
        that of torch's files by the notes on serialisation in its manual.
    """
    path = pathlib.Path(path)
    try:
        size = path.stat().st_size
        with open(path, "rb") as file:
            if not size:
                raise ValueError("it is empty. Fetch the file again.")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                value = _read(file, data, Limits(size), inert)
                return _checked(value, inert)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from error
    # A text or a tuple that nests without end exhausts the stack of Python.
    except RecursionError as error:
        raise ValueError(
            f"{os.fspath(path)}: it nests its values too deep. It is damaged or "
            "hostile."
        ) from error


def _read(file: BinaryIO, data: Any, limits: Limits, inert: bool) -> Any:
    if data[:4] == b"PK\x03\x04":
        return _read_archive(file, len(data), limits, inert)
    if _is_old(data):
        return _read_old(data, limits, inert, nested=True)
    if data[257:262] == b"ustar":
        raise ValueError(
            "it is a tar archive, as torch wrote before version 0.1.10. Load it with "
            "torch and save it again."
        )
    names = Names(inert, limits, lambda content: _read_nested(content, limits, inert))
    machine = _machine(data, 0, names, _no_storage, limits)
    value = machine.run()
    _check_end(machine.position, data)
    return value


def _machine(
    data: Any, position: int, names: Names, persistent: Any, limits: Limits
) -> Machine:
    return Machine(
        data,
        position,
        name=names.find,
        call=names.call,
        persistent=persistent,
        limits=limits,
    )


def _no_storage(identifier: Any) -> Any:
    raise ValueError(
        f"it refers to {short(identifier)} outside of it, as the files of torch do, "
        "but is none. It is damaged."
    )


def _check_end(position: int, data: Any) -> None:
    if position != len(data):
        raise ValueError(
            f"{len(data) - position:,} bytes come after its end. The file is damaged."
        )


# Archives.


def _read_archive(file: BinaryIO, size: int, limits: Limits, inert: bool) -> Any:
    try:
        with zipfile.ZipFile(file) as archive:
            return _read_open_archive(archive, size, limits, inert)
    except RecursionError:
        raise
    # All that the zip reader raises of damaged archives.
    except (
        zipfile.BadZipFile,
        struct.error,
        EOFError,
        OSError,
        OverflowError,
        RuntimeError,
    ) as error:
        raise ValueError(
            f"it is a zip archive that is damaged or cut short ({error}). Fetch the "
            "file again."
        ) from error


def _read_open_archive(
    archive: zipfile.ZipFile, size: int, limits: Limits, inert: bool
) -> Any:
    if any(name.endswith("/constants.pkl") for name in archive.namelist()):
        raise ValueError(
            "it is a TorchScript program. Save the state dictionary instead: "
            "`torch.save(torch.jit.load(path).state_dict(), path)`."
        )
    entries = _entries(archive, size)
    pickles = [name for name in entries if name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError(
            "it is a zip archive without a `data.pkl`, so torch did not write it."
        )
    root = pickles[0].removesuffix("data.pkl")
    order = f"{root}byteorder"
    if order in entries and archive.read(entries[order]) != b"little":
        raise ValueError("its numbers are not in little-endian order.")
    storages: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Storage:
        dtype, key, count = _identified(identifier, 5)
        if key not in storages:
            name = f"{root}data/{key}"
            if name not in entries:
                raise ValueError(f"the numbers of a tensor, {name}, are missing.")
            content = archive.read(entries[name])
            storages[key] = _storage(dtype, count, content)
        return _same_storage(storages[key], dtype, count)

    content = archive.read(entries[pickles[0]])
    machine = _machine(content, 0, Names(inert, limits, None), persistent, limits)
    value = machine.run()
    _check_end(machine.position, content)
    return value


def _entries(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """The entries by name, none of them compressed."""
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        if entry.compress_type != zipfile.ZIP_STORED or (
            entry.file_size != entry.compress_size
        ):
            raise ValueError(
                f"its entry {entry.filename!r} is compressed, which torch never does: "
                "a small file could ask for much memory."
            )
        if entry.filename in entries:
            raise ValueError(f"it has two entries named {entry.filename!r}.")
        entries[entry.filename] = entry
        total += entry.file_size
    if total > size:
        raise ValueError("its entries overlap. It is damaged or hostile.")
    return entries


# Old-style files.


def _is_old(data: Any) -> bool:
    # Before the number stand the protocol and, since protocol 4, the length of a frame.
    return _MAGIC_PICKLED in data[: len(_MAGIC_PICKLED) + 11]


def _read_nested(content: bytes, limits: Limits, inert: bool) -> Any:
    if not _is_old(content):
        raise ValueError("a storage within it is no file of torch. It is damaged.")
    return _read_old(content, limits, inert, nested=False)


def _read_old(data: Any, limits: Limits, inert: bool, *, nested: bool) -> Any:
    """Reads an old-style file.

    The numbers come after the pickle that uses them, so the pickle runs twice: first to
    see where it ends and which storages there are, then with their numbers.
    """
    plain = Names(False, limits, None)
    position = 0
    header = []
    for _ in range(3):
        machine = _machine(data, position, plain, _no_storage, limits)
        header.append(machine.run())
        position = machine.position
    magic, protocol, system = header
    if magic != _MAGIC or protocol != _OLD_PROTOCOL or not isinstance(system, dict):
        raise ValueError(
            f"it is an old-style file of torch of the protocol {short(protocol)}; "
            f"known is {_OLD_PROTOCOL}."
        )
    if system.get("little_endian") is not True:
        raise ValueError("its numbers are not in little-endian order.")

    deeper = (lambda content: _read_nested(content, limits, inert)) if nested else None
    names = Names(inert, limits, deeper)
    storages: dict[str, Storage] = {}

    def persistent(identifier: Any) -> Any:
        if isinstance(identifier, tuple) and identifier[:1] == ("module",):
            # The class of a whole network, with its source, which is ignored.
            return identifier[1] if len(identifier) == 4 else None
        dtype, key, count = _identified(identifier, 6)
        if key not in storages:
            storages[key] = Storage(dtype, count, None)
        whole = _same_storage(storages[key], dtype, count)
        return _part(whole, identifier[5])

    machine = _machine(data, position, names, persistent, limits)
    machine.run()
    end = machine.position

    machine = _machine(data, end, plain, _no_storage, limits)
    keys = machine.run()
    if (
        not isinstance(keys, list)
        or not all(isinstance(key, str) for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise ValueError("its list of storages is not that of its tensors.")
    at = machine.position
    for key in keys:
        known = storages[key]
        count = int.from_bytes(_slice(data, at, 8), "little", signed=True)
        if count != known.size:
            raise ValueError(
                f"it announces {known.size:,} numbers for the storage {key}, and "
                f"{count:,} where they stand. It is damaged."
            )
        content = _slice(data, at + 8, count * known.dtype.itemsize)
        storages[key] = _storage(known.dtype, count, content)
        at += 8 + len(content)
    _check_end(at, data)
    return _machine(data, position, names, persistent, limits).run()


def _slice(data: Any, start: int, size: int) -> bytes:
    if size < 0 or start + size > len(data):
        raise ValueError(
            f"it ends too early: {size:,} bytes are announced at byte {start:,} of "
            f"{len(data):,}. Fetch the file again."
        )
    return bytes(data[start : start + size])


def _part(whole: Storage, view: Any) -> Storage:
    """A part of a storage that old versions of torch named as one of its own."""
    if view is None:
        return whole
    if not (isinstance(view, tuple) and len(view) == 3):
        raise ValueError("a part of a storage is not described. It is damaged.")
    _, offset, size = view
    if not (type(offset) is type(size) is int) or not (
        0 <= offset <= offset + size <= whole.size
    ):
        raise ValueError(
            f"numbers {offset} to {offset} + {size} of a storage of {whole.size:,} are "
            "not there. It is damaged."
        )
    numbers = whole.numbers
    part = None if numbers is None else numbers[offset : offset + size]
    return Storage(whole.dtype, size, part)


# Both.


def _identified(identifier: Any, length: int) -> tuple[np.dtype, str, int]:
    """Dtype, key and number of elements of a storage, from its identifier."""
    if (
        not isinstance(identifier, tuple)
        or len(identifier) != length
        or identifier[0] != "storage"
    ):
        raise ValueError(
            f"it refers to {short(identifier)}, which is not the storage of a tensor."
        )
    _, kind, key, _, count = identifier[:5]
    if not isinstance(key, str) or type(count) is not int or not 0 <= count < 2**48:
        raise ValueError(
            f"a storage has the key {key!r:.50} and the size {count!r:.50}."
        )
    return storage_dtype(kind), key, count


def _storage(dtype: np.dtype, count: int, content: bytes) -> Storage:
    if len(content) != count * dtype.itemsize:
        raise ValueError(
            f"a storage of {count:,} numbers of {dtype} takes "
            f"{count * dtype.itemsize:,} bytes, and has {len(content):,}. The file is "
            "damaged."
        )
    return Storage(dtype, count, np.frombuffer(content, dtype))


def _same_storage(storage: Storage, dtype: np.dtype, count: int) -> Storage:
    if (storage.dtype, storage.size) != (dtype, count):
        raise ValueError("it gives one storage two kinds or two sizes. It is damaged.")
    return storage


def _checked(value: Any, inert: bool) -> Any:
    """Refuses values that are no data, and nests that have no end.

    A pickle may put a list into itself, or into itself twice over and over, which is
    small in the file and endless for whoever walks through it.
    """
    # Of each container: how many values it holds, and how many levels.
    extents: dict[int, tuple[int, int]] = {}
    open_: set[int] = set()
    agenda = [(value, False)]
    while agenda:
        part, is_done = agenda.pop()
        if isinstance(part, _PLAIN) or part is None or id(part) in extents:
            continue
        inner = _parts(part, inert)
        if not is_done:
            if id(part) in open_:
                raise ValueError("it holds a container within itself. It is hostile.")
            open_.add(id(part))
            agenda.append((part, True))
            agenda += [(other, False) for other in inner]
            continue
        open_.discard(id(part))
        found = [extents.get(id(other), (1, 0)) for other in inner]
        count = 1 + sum(values for values, _ in found)
        depth = 1 + max((levels for _, levels in found), default=0)
        if count > _MOST_VALUES:
            raise ValueError(
                f"it holds more than {_MOST_VALUES:,} values, most of them again and "
                "again. It is damaged or hostile."
            )
        if depth > _DEEPEST:
            raise ValueError(
                f"it nests containers deeper than {_DEEPEST}. It is damaged or hostile."
            )
        extents[id(part)] = count, depth
    return value


def _parts(value: Any, inert: bool) -> list[Any]:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, Inert) and inert:
        return [value.arguments, value.state, value.items]
    if isinstance(value, Inert):
        raise ValueError(
            f"it holds the name `{value.name}`, which is no data. `inert=True` reads "
            "it as a record."
        )
    kind = value.name if isinstance(value, Slot) else type(value).__name__
    raise ValueError(f"it holds a {kind} without its numbers. It is damaged.")

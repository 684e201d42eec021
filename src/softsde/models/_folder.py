"""Two files that are one model: a reader sees the old model or the new one, no mix.

`NAME.json` holds the checksum of the arrays that belong to it. Saving takes three
steps, each of them atomic:

1. The arrays are written to a file named after their checksum,
   `NAME-0123456789abcdef.safetensors`.
2. `NAME.json` is replaced. From here on the new model is the one that is read.
3. The file of arrays is renamed to `NAME.safetensors`.

A process killed before step 2 leaves the old model, and one killed after it the new
model, whose arrays are still under their first name. A reader looks for both names and
takes the file whose checksum is right.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import pathlib
import re
from typing import Any

import numpy as np

from .._files import PathLike, write_bytes, write_json
from ._arrays import pack, unpack

_VERSION = 1
_ATTEMPTS = 20


def write(
    folder: PathLike, stem: str, content: dict[str, Any], tensors: dict[str, np.ndarray]
) -> pathlib.Path:
    """Writes a model, in place of one that is there.

    **Arguments:**

    - `folder`: made if absent. Other files in it are left alone.
    - `stem`: the name of both files.
    - `content`: plain data.
    - `tensors`: arrays by name.

    **Returns:** the folder.
    """
    folder = pathlib.Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Give the name of a folder.")
    packed = pack(tensors)
    checksum = hashlib.sha256(packed).hexdigest()
    header = {
        "format": f"softsde-{stem}",
        "version": _VERSION,
        "softsde": importlib.metadata.version("softsde"),
    }
    described = {"sha256": checksum, "bytes": len(packed)}
    staged = _staged(folder, stem, checksum)
    write_bytes(staged, packed)
    write_json(folder / f"{stem}.json", header | content | {"tensors": described})
    os.replace(staged, _settled(folder, stem))
    _remove_leftovers(folder, stem)
    return folder


def _staged(folder: pathlib.Path, stem: str, checksum: str) -> pathlib.Path:
    return folder / f"{stem}-{checksum[:16]}.safetensors"


def _settled(folder: pathlib.Path, stem: str) -> pathlib.Path:
    return folder / f"{stem}.safetensors"


def _remove_leftovers(folder: pathlib.Path, stem: str) -> None:
    """Removes the arrays of saves that were killed."""
    leftover = re.compile(rf"{stem}-[0-9a-f]{{16}}\.safetensors")
    for path in folder.iterdir():
        if leftover.fullmatch(path.name):
            path.unlink(missing_ok=True)


def has(folder: PathLike, stem: str) -> bool:
    """Tells whether a folder looks like one that `write` made."""
    return (pathlib.Path(folder) / f"{stem}.json").is_file()


def read_content(folder: pathlib.Path, stem: str) -> dict[str, Any]:
    """The JSON of a model, without what belongs to the file format.

    **Raises:** `FileNotFoundError` where there is none, `ValueError` for a file that
    is something else.
    """
    return _without_header(_read_json(folder, stem))


def _without_header(content: dict[str, Any]) -> dict[str, Any]:
    header = ("format", "version", "softsde", "tensors")
    return {name: part for name, part in content.items() if name not in header}


def read(
    folder: pathlib.Path, stem: str
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Reads what `write` was given.

    **Raises:** as `read_content`, and `ValueError` for arrays that are damaged.
    """
    path = _settled(folder, stem)
    content, packed, problem = {}, None, ""
    # Somebody may be saving meanwhile: then the two files do not fit, and the next
    # attempt finds those that do.
    for _ in range(_ATTEMPTS):
        content = _read_json(folder, stem)
        packed, problem = _read_packed(folder, stem, content["tensors"]["sha256"])
        if packed is not None or content == _read_json(folder, stem):
            break
    if packed is None and not path.exists():
        raise FileNotFoundError(
            f"{folder} has {stem}.json, but {path.name} is missing. Copy both files, "
            "or save the model again."
        )
    if packed is None:
        raise ValueError(problem)
    return _without_header(content), unpack(str(path), packed)


def _read_packed(
    folder: pathlib.Path, stem: str, checksum: str
) -> tuple[bytes | None, str]:
    """The arrays with the right checksum, or what is wrong."""
    problem = ""
    for path in (_staged(folder, stem, checksum), _settled(folder, stem)):
        try:
            packed = path.read_bytes()
        except FileNotFoundError:
            continue
        if hashlib.sha256(packed).hexdigest() == checksum:
            return packed, ""
        problem = (
            f"{path} is not the file that {stem}.json belongs to: its checksum is "
            "another. It is damaged, or the two files are of different models. Fetch "
            "or save the model again."
        )
    return None, problem


def _read_json(folder: pathlib.Path, stem: str) -> dict[str, Any]:
    path = folder / f"{stem}.json"
    try:
        text = path.read_bytes().decode()
        content = json.loads(text, parse_constant=_refuse_constant)
    except FileNotFoundError:
        state = "has no" if folder.is_dir() else "does not exist, so it has no"
        raise FileNotFoundError(
            f"{folder} {state} {stem}.json. Give a folder that was saved."
        ) from None
    # Lists nested without end exhaust the stack of the parser.
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is not JSON ({error}). Fetch or save the model again."
        ) from error
    if not isinstance(content, dict) or content.get("format") != f"softsde-{stem}":
        raise ValueError(
            f"{path} is not a {stem} that softsde saved: it does not say "
            f'`"format": "softsde-{stem}"`.'
        )
    version = content.get("version")
    if version != _VERSION:
        raise ValueError(
            f"{path} has the version {version!r}, and this softsde reads {_VERSION}. "
            "Install the version of softsde that wrote it, or a newer one."
        )
    described = content.get("tensors")
    checksum = described.get("sha256") if isinstance(described, dict) else None
    # The checksum is part of a file name, so it must not be able to name another file.
    if not isinstance(checksum, str) or not re.fullmatch("[0-9a-f]{64}", checksum):
        raise ValueError(
            f"{path} has no checksum of the arrays (`tensors.sha256`, 64 digits). "
            "Fetch or save the model again."
        )
    return content


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no number")


def plain(value: Any, path: str) -> Any:
    """A copy of plain data, as it is after a round trip through JSON.

    **Raises:** `TypeError` for a value that JSON does not have, `ValueError` for a
    number that it does not have.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic) or (
        isinstance(value, np.ndarray) and value.ndim == 0
    ):
        value = value.item()
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(
                f"{path} is {value}, which JSON does not have. Write `None` or a text."
            )
        return float(value)
    if isinstance(value, list | tuple):
        return [plain(part, f"{path}[{i}]") for i, part in enumerate(value)]
    if isinstance(value, dict) and all(isinstance(name, str) for name in value):
        return {name: plain(part, f"{path}.{name}") for name, part in value.items()}
    raise TypeError(
        f"{path} is a {type(value).__name__}, which JSON does not have. Give numbers, "
        "text, `None`, lists, and dictionaries with text for keys."
    )

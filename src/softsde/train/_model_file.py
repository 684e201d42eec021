"""The weights of one model in one file that says what it holds."""

import json
import os
from pathlib import Path
from typing import Any, TypeVar

import equinox as eqx
from jaxtyping import PyTree

from ._tree import describe, differences, named_leaves

T = TypeVar("T")

_FORMAT = "softsde-model-1"


def save_model(
    path: str | os.PathLike, model: PyTree, *, metadata: dict[str, Any] | None = None
) -> None:
    """Write the arrays of `model` to one file, atomically.

    The file is one line of JSON (format, the name, shape and type of each leaf, your
    metadata) and then what `equinox.tree_serialise_leaves` writes. A reader sees the
    old file or the new one, never half of it.

    **Arguments:**

    - `path`: where to write; missing folders are made.
    - `model`: any PyTree.
    - `metadata`: anything that JSON can hold, such as the configuration.

    !!! Example

        ```python
        ss.train.save_model("blur.eqx", state.ema, metadata={"steps": 50_000})
        network = ss.train.load_model("blur.eqx", like=network)
        ss.train.read_metadata("blur.eqx")["steps"]
        ```
    """
    path = Path(path)
    header = {
        "format": _FORMAT,
        "leaves": describe(named_leaves(model)),
        "metadata": metadata or {},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        with open(partial, "wb") as file:
            file.write(json.dumps(header).encode() + b"\n")
            eqx.tree_serialise_leaves(file, model)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load_model(path: str | os.PathLike, like: T) -> T:
    """Read the weights that [`softsde.train.save_model`][] wrote.

    **Arguments:**

    - `path`: the file.
    - `like`: a model of the same structure, whose values are replaced; it may be made
        of `jax.ShapeDtypeStruct`s by `equinox.filter_eval_shape`.

    **Returns:**

    A model with the structure of `like` and the values of the file.

    Raises `ValueError` if the file is no such file, is truncated, or holds a model of
    another structure: then the leaves that differ are listed.
    """
    with open(path, "rb") as file:
        header = _read_header(file, path)
        wrong = differences(
            header["leaves"], describe(named_leaves(like)), "in the file", "in `like`"
        )
        if wrong:
            raise ValueError(
                f"{path} holds another model than `like`:\n{wrong}\n"
                "Build `like` with the configuration that the file was trained with "
                "(`softsde.train.read_metadata` shows it if it was saved)."
            )
        try:
            return eqx.tree_deserialise_leaves(file, like)
        except (EOFError, ValueError, RuntimeError, OSError) as e:
            raise ValueError(
                f"{path} is damaged: its header is whole but its arrays are not ({e}). "
                "Fetch or write the file again."
            ) from e


def read_metadata(path: str | os.PathLike) -> dict[str, Any]:
    """The `metadata` that was given to [`softsde.train.save_model`][].

    **Arguments:**

    - `path`: the file.

    **Returns:**

    A dictionary, empty if none was given.
    """
    with open(path, "rb") as file:
        return _read_header(file, path)["metadata"]


def _read_header(file, path) -> dict[str, Any]:
    try:
        header = json.loads(file.readline())
        assert header["format"] == _FORMAT
        return header
    except (AssertionError, KeyError, TypeError, ValueError) as e:
        raise ValueError(
            f"{path} is not a file that `softsde.train.save_model` wrote: its first "
            "line is not the expected header."
        ) from e

"""Everything that is not a function, as JSON and back.

An object is written as its class and the arguments of its constructor, and read by
calling the constructor. So what is read has passed every check of its class.

| value | JSON |
| --- | --- |
| `None`, truth value, text, number | itself |
| infinite number | `{"float": "inf"}` |
| tuple | a list |
| list | `{"list": [...]}` |
| dictionary | `{"dict": {...}}` |
| array | `{"array": [...], "dtype": "float32", "shape": [3]}` |
| key | `{"key": [...], "impl": "threefry2x32", "shape": [2]}` |
| dtype | `{"dtype": "float32"}` |
| object | `{"type": "corruptions.Fade", "arguments": {...}}` |

Two more are found only in the folder of a model: `{"tensor": "prior.mean"}`, an array
in the file beside, and `{"shared": "process"}`, the process of the model."""

import dataclasses
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._opaque import Opaque
from ..corruptions import AbstractCorruption
from ..oracles import AbstractOracle
from ..parametrisations import AbstractParametrisation
from ..processes import Process
from ..sampling import AbstractPrior
from ..schedules import AbstractSchedule
from ._arrays import is_array, is_key, key_parts, to_jax, to_numpy
from ._json_numbers import (
    damaged,
    nested,
    read_array,
    read_dtype,
    read_key,
    write_float,
)
from ._registry import Classes, by_name, find, known, name_of

#: In the folder of a model, arrays of more numbers go to the file of arrays.
_SMALL = 64


def to_json(value: Any) -> dict[str, Any]:
    """A corruption, schedule, process, parametrisation or prior as plain data.

    [`softsde.models.from_json`][] reads it back, and this function makes sure of it: it
    reads what it wrote and compares.

    **Arguments:**

    - `value`: the object. A class of your own is written as its name and the arguments
        of its constructor, so each argument must be kept under its own name.

    **Returns:** a dictionary that `json.dumps` accepts.

    **Raises:** `ValueError` for an object that holds a function, with the place where
    it holds it; or for one that is not the same after it was read.

    !!! example

        ```python
        content = ss.models.to_json(ss.schedules.Geometric(0.01, 50.0))
        schedule = ss.models.from_json(content)
        ```
    """
    name = next((n for kind, n in _NAMES if isinstance(value, kind)), None)
    return Writer().write_object(value, name or type(value).__name__)


_NAMES = (
    (Process, "process"),
    (AbstractCorruption, "corruption"),
    (AbstractSchedule, "schedule"),
    (AbstractParametrisation, "parametrisation"),
    (AbstractOracle, "oracle"),
    (AbstractPrior, "prior"),
)


def from_json(content: dict[str, Any], *, classes: Sequence[type] = ()) -> Any:
    """The object that [`softsde.models.to_json`][] wrote.

    **Arguments:**

    - `content`: what it returned, or the same read from a file by `json.load`.
    - `classes`: classes of your own that may occur in it.

    **Returns:** an object equal to the one that was written.

    **Raises:** `ValueError` for a class that is not known, or arguments that a class
    refuses, with the place.
    """
    return Reader(classes=by_name(classes)).read(content, "the content")


@dataclasses.dataclass
class Writer:
    """Writes objects, and collects their large arrays if it is told where."""

    #: The process of the model, which its prior need not repeat.
    process: Process | None = None
    #: Where large arrays go; `None` writes them as lists.
    tensors: dict[str, np.ndarray] | None = None

    def write_object(self, value: Any, path: str) -> dict[str, Any]:
        """One object as a dictionary, once it has been read back and found equal.

        **Arguments:**

        - `value`: of a class that can be written.
        - `path`: what to call it in errors.
        """
        content = self.write(value, path)
        if not isinstance(content, dict) or "type" not in content:
            raise TypeError(
                f"{path} is {value!r}; expected a corruption, a schedule, a process, a "
                "parametrisation or a prior."
            )
        reader = Reader(_classes_in(value), self.process, self.tensors or {})
        _check_equal(path, value, reader.read(content, path))
        return content

    def write(self, value: Any, path: str) -> Any:
        """Any value as plain data."""
        if value is None or isinstance(value, bool | str):
            return value
        if is_array(value):
            return self._write_array(value, path)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return write_float(value, path)
        if type(value) is tuple:
            return self._write_all(value, path)
        if type(value) is list:
            return {"list": self._write_all(value, path)}
        if type(value) is dict:
            return {"dict": self._write_dict(value, path)}
        if isinstance(value, np.dtype | type(jnp.float32)):
            return {"dtype": jnp.dtype(value).name}
        if self._is_the_process(value):
            return {"shared": "process"}
        return self._write_by_constructor(value, path)

    def _write_all(self, values: Sequence[Any], path: str) -> list[Any]:
        return [self.write(value, f"{path}[{i}]") for i, value in enumerate(values)]

    def _write_dict(self, values: Mapping[Any, Any], path: str) -> dict[str, Any]:
        for name in values:
            if not isinstance(name, str):
                raise ValueError(
                    f"{path} is a dictionary with the key {name!r}; JSON has text "
                    "alone for keys."
                )
        return {n: self.write(value, f"{path}[{n!r}]") for n, value in values.items()}

    def _is_the_process(self, value: Any) -> bool:
        if self.process is None or not isinstance(value, Process):
            return False
        return bool(eqx.tree_equal(value, self.process))

    def _write_array(self, value: Any, path: str) -> dict[str, Any]:
        if isinstance(value, jax.Array) and is_key(value):
            data, implementation = key_parts(path, value)
            shape = list(value.shape)
            return {"key": data.tolist(), "impl": implementation, "shape": shape}
        array = to_numpy(path, value)
        if self.tensors is not None and array.size > _SMALL:
            self.tensors[path] = array
            return {"tensor": path}
        shape = list(array.shape)
        if np.issubdtype(array.dtype, np.bool_) or np.issubdtype(
            array.dtype, np.integer
        ):
            numbers = array.tolist()
        else:
            # Every float of 16 or 32 bits is one of 64, and Python writes those so
            # that they are read to the last bit.
            numbers = nested(array.astype(np.float64).tolist(), path)
        content = {
            "array": numbers,
            "dtype": array.dtype.name,
            "shape": shape,
        }
        if not isinstance(value, jax.Array):
            return content | {"numpy": True}
        # JAX gives way to other dtypes where an array came from a Python number.
        return content | {"weak": True} if value.weak_type and not shape else content

    def _write_by_constructor(self, value: Any, path: str) -> dict[str, Any]:
        if _is_function(value):
            raise ValueError(
                f"{path} is a function, and a function cannot be written to JSON. "
                "Write a subclass whose constructor takes numbers, and hand it in when "
                "you load: `ss.load(folder, classes=[MyClass])`."
            )
        is_object = isinstance(value, eqx.Module) or dataclasses.is_dataclass(value)
        name = name_of(value, known()) if is_object else None
        if name is None:
            raise ValueError(
                f"{path} is `{type(value).__name__}`, which cannot be written to JSON."
            )
        arguments = {}
        for parameter in _parameters(type(value)):
            keep = _attribute(parameter)
            arguments[parameter.name] = self.write(
                _kept(value, keep, parameter.name, path), f"{path}.{keep}"
            )
        return {"type": name, "arguments": arguments}


@dataclasses.dataclass
class Reader:
    """Builds what a `Writer` wrote."""

    classes: Classes
    process: Process | None = None
    tensors: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    #: The names of the arrays that were asked for.
    used: set[str] = dataclasses.field(default_factory=set)

    def read(self, content: Any, path: str) -> Any:
        """The value that some plain data describes.

        **Arguments:**

        - `content`: what `Writer.write` returned.
        - `path`: what to call it in errors.

        **Raises:** `ValueError` for data that describe nothing.
        """
        if content is None or isinstance(content, bool | int | str):
            return content
        if isinstance(content, float):
            if not math.isfinite(content):
                raise damaged(path, f"the number {content}")
            return content
        if isinstance(content, list):
            return tuple(self._read_all(content, path))
        if not isinstance(content, dict):
            raise damaged(path, f"a {type(content).__name__}")
        names = set(content)
        if names == {"type", "arguments"}:
            return self._read_object(content["type"], content["arguments"], path)
        if names - {"numpy", "weak"} == {"array", "dtype", "shape"}:
            return read_array(content, path)
        if names == {"key", "impl", "shape"}:
            return read_key(content, path)
        if names == {"float"} and content["float"] in ("inf", "-inf"):
            return float(content["float"])
        if names == {"dtype"}:
            return read_dtype(content["dtype"], path)
        if names == {"list"} and isinstance(content["list"], list):
            return self._read_all(content["list"], path)
        if names == {"dict"} and isinstance(content["dict"], dict):
            items = content["dict"].items()
            return {name: self.read(part, f"{path}[{name!r}]") for name, part in items}
        if names == {"tensor"}:
            return to_jax(path, self._take(content["tensor"], path))
        if content == {"shared": "process"} and self.process is not None:
            return self.process
        raise damaged(path, f"an entry with the names {sorted(names)}")

    def _read_all(self, content: list[Any], path: str) -> list[Any]:
        return [self.read(part, f"{path}[{i}]") for i, part in enumerate(content)]

    def _take(self, name: Any, path: str) -> np.ndarray:
        if not isinstance(name, str) or name not in self.tensors:
            raise ValueError(
                f"{path} is the array {name!r}, which the file of arrays does not "
                "hold. The two files are not of one model: fetch or save it again."
            )
        self.used.add(name)
        return self.tensors[name]

    def _read_object(self, name: Any, arguments: Any, path: str) -> Any:
        cls = find(path, name, known(), self.classes)
        if not isinstance(arguments, dict):
            raise damaged(f"{path}.arguments", f"a {type(arguments).__name__}")
        parameters = _parameters(cls)
        check_arguments(path, name, arguments, parameters)
        positional, named = [], {}
        for parameter in parameters:
            if parameter.name not in arguments:
                continue
            value = self.read(
                arguments[parameter.name], f"{path}.{_attribute(parameter)}"
            )
            if parameter.kind is parameter.VAR_POSITIONAL:
                if not isinstance(value, tuple):
                    raise damaged(f"{path}.{parameter.name}", "something not a list")
                positional = list(value)
            else:
                named[parameter.name] = value
        return call(path, name, cls, *positional, **named)


def call(
    path: str, name: str, make: Callable[..., Any], /, *positional: Any, **named: Any
) -> Any:
    """Calls a constructor; whatever it raises becomes a `ValueError` with the place."""
    try:
        return make(*positional, **named)
    # A file may hold anything, and a constructor may fail at it in any way.
    except Exception as error:
        raise ValueError(
            f"{path} cannot be made: `{name}` refuses its arguments. {error}"
        ) from error


def check_arguments(
    path: str,
    name: str,
    arguments: Mapping[str, Any],
    parameters: Sequence[inspect.Parameter],
) -> None:
    """Refuses arguments that a constructor does not have, or that it lacks."""
    unknown = sorted(set(arguments) - {p.name for p in parameters})
    missing = [
        p.name
        for p in parameters
        if p.name not in arguments and p.default is p.empty and p.kind not in _VARIADIC
    ]
    if unknown or missing:
        raise ValueError(
            f"{path}: `{name}` takes the arguments {[p.name for p in parameters]}; the "
            f"file has {sorted(arguments)}. The file is damaged, or of another version."
        )


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def constructor(cls: type) -> list[inspect.Parameter]:
    """The parameters of a constructor, without `self`."""
    return list(inspect.signature(cls.__init__).parameters.values())[1:]


def _parameters(cls: type) -> list[inspect.Parameter]:
    parameters = constructor(cls)
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        raise ValueError(
            f"`{cls.__name__}` takes arguments of any name (`**`), so it cannot be "
            "written to JSON. Name them in its constructor."
        )
    return parameters


def _attribute(parameter: inspect.Parameter) -> str:
    """Finds where an object keeps an argument of its constructor."""
    is_many = parameter.kind is parameter.VAR_POSITIONAL
    return "members" if is_many else parameter.name


_NOTHING = object()


def _kept(value: Any, attribute: str, parameter: str, path: str) -> Any:
    kept = getattr(value, attribute, _NOTHING)
    if kept is _NOTHING:
        raise ValueError(
            f"{path} is `{type(value).__name__}`, which does not keep the argument "
            f"`{parameter}` of its constructor, so it cannot be written to JSON. Keep "
            f"it as the attribute `{attribute}`."
        )
    return kept


def _is_function(value: Any) -> bool:
    if isinstance(value, jax.tree_util.Partial | Opaque):
        return True
    return callable(value) and not isinstance(value, eqx.Module)


def _classes_in(value: Any) -> Classes:
    """The classes of the user's that occur in a value, so that it can be read back."""
    found: dict[str, type] = {}

    def visit(part: Any) -> None:
        if isinstance(part, tuple | list):
            for entry in part:
                visit(entry)
        elif isinstance(part, dict):
            visit(list(part.values()))
        elif isinstance(part, eqx.Module) or dataclasses.is_dataclass(part):
            cls = type(part)
            name = name_of(part, known())
            is_own = name is not None and name not in known()
            if is_own and found.setdefault(cls.__name__, cls) is not cls:
                raise ValueError(
                    f"Two classes named `{cls.__name__}` occur in what is to be "
                    "written. A file has only the name, so rename one of them."
                )
            for parameter in _parameters(cls):
                visit(getattr(part, _attribute(parameter), None))

    visit(value)
    return found


def _check_equal(path: str, written: Any, read: Any) -> None:
    if type(written) is not type(read) or not eqx.tree_equal(written, read):
        raise ValueError(
            f"{path} is `{type(written).__name__}`, which is another object after it "
            "was written and read: its constructor changes its arguments, or an object "
            "inside was changed after it was made. A constructor must accept what its "
            "attributes hold, and give an equal object."
        )

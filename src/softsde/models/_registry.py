"""The classes that a file may name. No other class is ever built, or imported."""

import functools
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from .. import (
    corruptions,
    nn,
    oracles,
    parametrisations,
    processes,
    sampling,
    schedules,
)

#: Classes handed in by the caller: a class name, and the class.
Classes = Mapping[str, type]


@functools.cache
def known() -> Mapping[str, type]:
    """Every class of the library that can be written, such as `"schedules.EDM"`.

    The name of its room is part of the name: `schedules` and `parametrisations` both
    have an `EDM`.
    """
    rooms = (
        (corruptions, corruptions.AbstractCorruption),
        (corruptions, corruptions.Structure),
        (schedules, schedules.AbstractSchedule),
        (processes, processes.Process),
        (parametrisations, parametrisations.AbstractParametrisation),
        (oracles, oracles.AbstractOracle),
        (sampling, sampling.AbstractPrior),
    )
    return {
        f"{room.__name__.rpartition('.')[2]}.{name}": value
        for room, kind in rooms
        for name, value in vars(room).items()
        if inspect.isclass(value)
        and issubclass(value, kind)
        and not name.startswith("Abstract")
    }


@functools.cache
def known_networks() -> Mapping[str, type]:
    """Every network of the library that can be written, such as `"nn.UNet"`."""
    return {
        f"nn.{name}": value
        for name, value in vars(nn).items()
        if inspect.isclass(value)
        and issubclass(value, nn.AbstractNetwork)
        and not name.startswith("Abstract")
    }


def by_name(classes: Sequence[type]) -> Classes:
    """The caller's own classes by the names that a file has for them.

    **Raises:** `TypeError` for something that is not a class, `ValueError` for two of
    one name.
    """
    table: dict[str, type] = {}
    for cls in classes:
        if not inspect.isclass(cls):
            raise TypeError(
                f"`classes` holds {cls!r}, which is not a class. Give the classes "
                "themselves, as in `classes=[MyCorruption]`."
            )
        if table.setdefault(cls.__name__, cls) is not cls:
            raise ValueError(
                f"`classes` holds two classes named `{cls.__name__}`. A file has only "
                "the name, so rename one of them."
            )
    return table


def name_of(value: Any, library: Mapping[str, type]) -> str | None:
    """The name that a file has for the class of `value`.

    A class of the library has its room in front, any other only its own name. `None`
    for a class of the library that is not public.
    """
    cls = type(value)
    for name, candidate in library.items():
        if candidate is cls:
            return name
    private = cls.__module__.partition(".")[0] == __name__.partition(".")[0]
    return None if private else cls.__name__


def find(path: str, name: Any, library: Mapping[str, type], classes: Classes) -> type:
    """The class of a name.

    **Raises:** `ValueError` for a name that nobody knows.
    """
    if isinstance(name, str):
        if name in library:
            return library[name]
        if name in classes:
            return classes[name]
    raise ValueError(
        f"{path} has the type {name!r}, which is not known. If it is a class of yours, "
        "hand it in: `ss.load(folder, classes=[MyClass])`. Otherwise the file is "
        f"damaged, or of a newer version. Known are {', '.join(library)}."
    )

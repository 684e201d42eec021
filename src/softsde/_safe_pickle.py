"""A reader of pickles that runs nothing: every name in a file must be on a list."""

import io
import pickle
from collections.abc import Callable, Mapping
from typing import Any


class _Name:
    """Stands for a function or class that a file names: it can be called, no more.

    A pickle may also change what it names. This refuses, so that a file cannot alter
    what the next one is read with.
    """

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]):
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        return self._call(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("it changes a function that it names")


class SafeUnpickler(pickle.Unpickler):
    """Builds plain data, and what the listed stand-ins make of their arguments.

    No name that a file gives is ever imported or looked up elsewhere.
    """

    def __init__(
        self,
        file: io.BufferedReader | io.BytesIO,
        names: Mapping[tuple[str, str], Callable[..., Any]],
        load_persistent: Callable[[Any], Any] | None = None,
    ):
        """**Arguments:**

        - `file`: open for reading, at the beginning of the pickle.
        - `names`: what stands for which `(module, name)`. All others are refused.
        - `load_persistent`: from a persistent identifier to what it stands for; `None`
            refuses them.
        """
        super().__init__(file)
        self._names = names
        self._load_persistent = load_persistent

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        try:
            return _Name(self._names[module_name, global_name])
        except KeyError:
            raise ValueError(f"it names {module_name}.{global_name}") from None

    def persistent_load(self, pid: Any) -> Any:
        if self._load_persistent is None:
            raise ValueError("it refers to data outside of it")
        return self._load_persistent(pid)

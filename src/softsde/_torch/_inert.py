"""Records that stand for objects that are not data."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(eq=False, repr=False)
class Inert:
    """The record of an object that a file describes and that nobody has made.

    A pickle describes an object by the name of a class or a function, by what it is to
    be called with, and by the state to give it. [`softsde.models.read_torch`][] keeps
    these as data where it is told to (`inert=True`); nothing is imported or called.

    - `name`: of the class or the function, such as `"torch.nn.modules.linear.Linear"`.
    - `arguments`: what it was to be called with; `None` for the bare name.
    - `state`: what the object was to be given afterwards, or `None`.
    - `items`: the entries of a kind of list or dictionary, or `None`.
    """

    name: str
    arguments: tuple[Any, ...] | None = None
    state: Any = None
    items: list[Any] | dict[Any, Any] | None = None

    def __repr__(self) -> str:
        return f"Inert({self.name!r})"


# Networks of EDM and EDM2 are pickled as their source and their state, by this name.
_PERSISTENT = "torch_utils.persistence._reconstruct_persistent_obj"
_DEEPEST = 100


def module_state(module: Inert) -> dict[str, np.ndarray]:
    """The parameters and buffers of a pickled `torch.nn.Module`, by their names.

    The names and their order are those of torch's `state_dict()`. Networks that were
    pickled with their source, as EDM and EDM2 do it, are read alike: the source is
    ignored.

    **Arguments:**

    - `module`: from [`softsde.models.read_torch`][] with `inert=True`.

    **Returns:** arrays by name, such as `"model.enc.8x8_block0.conv0.weight"`.

    **Raises:** `TypeError` for something that is no record, `ValueError` for the record
    of something else than a module.

    !!! example

        ```{ .python .no-run }
        content = ss.models.read_torch("network-snapshot.pkl", inert=True)
        state = ss.models.module_state(content["ema"])
        ```
    """
    found: dict[str, np.ndarray] = {}
    _collect(module, "", found, 0)
    return found


def module_fields(module: Inert) -> dict[str, Any]:
    """The fields of a pickled `torch.nn.Module`: its attributes and its class.

    **Arguments:**

    - `module`: from [`softsde.models.read_torch`][] with `inert=True`.

    **Returns:** the attributes by name, such as `"sigma_data"` or `"_init_kwargs"`, and
    the name of the class as `"class_name"`.

    **Raises:** as [`softsde.models.module_state`][].
    """
    if not isinstance(module, Inert):
        raise TypeError(
            f"Expected the record of a torch module, got {type(module).__name__}. Read "
            "the file with `ss.models.read_torch(path, inert=True)`."
        )
    state, name = module.state, module.name.rpartition(".")[2]
    if module.name == _PERSISTENT:
        meta = module.arguments[0] if module.arguments else None
        if not isinstance(meta, dict):
            raise ValueError(f"{module!r} has no description. The file is damaged.")
        state, name = meta.get("state"), meta.get("class_name")
    if not isinstance(state, dict) or not isinstance(state.get("_modules"), dict):
        raise ValueError(
            f"{module!r} is not a torch module: it has no parts. Give the network "
            "itself, such as `content['ema']`."
        )
    return {**state, "class_name": name}


def _collect(
    module: Any, prefix: str, found: dict[str, np.ndarray], depth: int
) -> None:
    if depth > _DEEPEST:
        raise ValueError(f"{prefix!r} is nested deeper than {_DEEPEST} modules.")
    state = module_fields(module)
    skipped = state.get("_non_persistent_buffers_set") or ()
    for kind, left_out in (("_parameters", ()), ("_buffers", skipped)):
        entries = state.get(kind)
        if not isinstance(entries, dict):
            raise ValueError(
                f"{prefix or module!r} has no {kind}. The file is damaged."
            )
        for name, array in entries.items():
            if array is None or name in left_out:
                continue
            if not isinstance(array, np.ndarray) or not isinstance(name, str):
                raise ValueError(
                    f"{prefix}{name} is a {type(array).__name__}; expected a tensor. "
                    "The file is damaged."
                )
            found[prefix + name] = array
    for name, part in state["_modules"].items():
        if part is not None:
            _collect(part, f"{prefix}{name}.", found, depth + 1)

"""Names of the library's functions and classes, as its rooms have them.

Nothing is listed here: a family that is added to a room has its name at once. A name is
found whatever its case and underscores: `gaussian_blur` is `GaussianBlur`.
"""

import difflib
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterable
from typing import Any

import equinox as eqx

import softsde as ss

from ._errors import CommandError
from ._spec import OWN

Target = Callable[..., Any]

#: What each kind is called in options, and how its members are known in the rooms.
KINDS: dict[str, tuple[Any, Callable[[Any], bool]]] = {
    "process": (ss.processes, lambda value: _makes(value, ss.Process)),
    "corruption": (
        ss.corruptions,
        lambda value: _is_final(value, ss.corruptions.AbstractCorruption),
    ),
    "schedule": (
        ss.schedules,
        lambda value: _is_final(value, ss.schedules.AbstractSchedule),
    ),
    "fitted": (ss.fitting, lambda value: _is_fit(value)),
    "network": (ss.nn, lambda value: _is_network(value)),
    "parametrisation": (
        ss.parametrisations,
        lambda v: _is_final(v, ss.parametrisations.AbstractParametrisation),
    ),
    "loss": (ss.losses, lambda value: _is_final(value, ss.losses.AbstractLoss)),
    "times": (ss.losses, lambda value: _is_final(value, ss.losses.AbstractTimes)),
    "weight": (ss.losses, lambda value: _is_weight(value)),
    "prior": (ss.sampling, lambda v: _is_final(v, ss.sampling.AbstractPrior)),
    "oracle": (ss.oracles, lambda v: _is_final(v, ss.oracles.AbstractOracle)),
    "solver": (
        ss.solvers,
        lambda v: (
            _makes(v, ss.solvers.AbstractSolver)
            or _is_final(v, ss.solvers.AbstractSolver)
        ),
    ),
    "corrector": (
        ss.solvers,
        lambda v: _is_final(v, ss.solvers.AbstractCorrector),
    ),
    "clock": (ss.clocks, lambda value: _is_final(value, ss.clocks.AbstractClock)),
    "metric": (
        ss.fitting,
        lambda v: _is_final(v, ss.fitting.AbstractTransportMetric),
    ),
    "levels of noise": (ss.schedules, lambda value: _makes_array(value)),
}


def _is_final(value: Any, base: type) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, base)
        and not value.__name__.startswith("Abstract")
    )


def _makes(value: Any, kind: type) -> bool:
    """Tells whether calling `value` gives a `kind`, by its class or its annotation."""
    if inspect.isclass(value):
        return value is kind and not value.__name__.startswith("Abstract")
    if not inspect.isfunction(value):
        return False
    returned = inspect.signature(value).return_annotation
    return inspect.isclass(returned) and issubclass(returned, kind)


def _makes_array(value: Any) -> bool:
    """Functions that return an array: sequences of levels."""
    if not inspect.isfunction(value):
        return False
    # An annotation of jaxtyping names the class of its arrays.
    return hasattr(inspect.signature(value).return_annotation, "array_type")


def _is_fit(value: Any) -> bool:
    """Schedules from data: functions of a corruption, levels and data."""
    if not inspect.isfunction(value):
        return False
    names = set(inspect.signature(value).parameters)
    returned = inspect.signature(value).return_annotation
    if not ({"corruption", "levels", "data"} <= names and inspect.isclass(returned)):
        return False
    is_schedule = issubclass(returned, ss.schedules.AbstractSchedule)
    return is_schedule or "schedule" in inspect.get_annotations(returned)


def _is_network(value: Any) -> bool:
    """Networks that can be saved, and are called with a time."""
    return (
        _is_final(value, ss.nn.AbstractNetwork)
        and "condition" in inspect.signature(value.__call__).parameters
    )


def _is_weight(value: Any) -> bool:
    if not (inspect.isclass(value) and issubclass(value, eqx.Module)):
        return False
    call = vars(value).get("__call__")
    return call is not None and list(inspect.signature(call).parameters)[1:] == [
        "process",
        "t",
    ]


@functools.cache
def members(kind: str) -> dict[str, Target]:
    """All functions and classes of a kind, by the names that the library has."""
    room, accepts = KINDS[kind]
    return {
        name: value
        for name, value in vars(room).items()
        if not name.startswith("_") and accepts(value)
    }


def _plain(name: str) -> str:
    # `transport` is short for `transport_schedule`, `uniform` for `UniformTimes`.
    plain = re.sub(r"[_\-]", "", name).lower()
    return plain.removesuffix("schedule").removesuffix("times") or plain


def find(name: str, kinds: Iterable[str], option: str) -> tuple[str, Target]:
    """The library's spelling of a name, and what it names.

    **Arguments:**

    - `name`: a name of the library, or `module:name` of the user's.
    - `kinds`: the kinds that are expected, in the order in which they are searched.
    - `option`: the option that the name was given to, for errors.

    **Raises:** `CommandError` for a name that nobody knows.
    """
    if OWN.fullmatch(name):
        return name, _import(name, option)
    kinds = tuple(kinds)
    wanted, fit = name.removesuffix(".fit"), name.endswith(".fit")
    for kind in kinds:
        for found, value in members(kind).items():
            if _plain(found) != _plain(wanted):
                continue
            if not fit:
                return found, value
            method = inspect.getattr_static(value, "fit", None)
            if isinstance(method, classmethod):
                return f"{found}.fit", getattr(value, "fit")  # noqa: B009
    known = [found for kind in kinds for found in members(kind)]
    near = difflib.get_close_matches(_plain(name), [_plain(k) for k in known], 1)
    hint = next((f" Did you mean {k}?" for k in known if _plain(k) in near), "")
    raise CommandError(
        f"`{option}`: {name!r} is not known.{hint} There are {', '.join(known)}; or "
        "give your own as `module:name`."
    )


def knows(name: str, kinds: Iterable[str]) -> bool:
    """Tells whether a bare word is a name of one of these kinds."""
    if OWN.fullmatch(name):
        return True
    plain = _plain(name.removesuffix(".fit"))
    return any(_plain(found) == plain for kind in kinds for found in members(kind))


def _import(name: str, option: str) -> Target:
    module, _, attribute = name.partition(":")
    # As `python -m` does it; a script that calls a command has its own folder there.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise CommandError(f"`{option} {name}`: {module} fails: {error}") from error
        raise CommandError(
            f"`{option} {name}`: there is no module {module!r} here. Run the command "
            f"in the folder of {module.partition('.')[0]}.py, or put that folder on "
            "PYTHONPATH."
        ) from None
    except Exception as error:
        raise CommandError(
            f"`{option} {name}`: importing {module} fails: "
            f"{type(error).__name__}: {error}"
        ) from error
    if attribute not in vars(found):
        names = [n for n, v in vars(found).items() if inspect.isclass(v)]
        raise CommandError(
            f"`{option} {name}`: {module} has no {attribute!r}. It has the classes "
            f"{', '.join(names) or '(none)'}."
        )
    value = vars(found)[attribute]
    if not callable(value):
        raise CommandError(
            f"`{option} {name}` is no function or class: it is {value!r}."
        )
    return value


def parameters(target: Target) -> dict[str, inspect.Parameter]:
    """The parameters of a function, or of the constructor of a class."""
    if inspect.isclass(target):
        # Equinox's classes are called through their metaclass.
        values = list(inspect.signature(target.__init__).parameters.values())[1:]
    else:
        values = list(inspect.signature(target).parameters.values())
    return {parameter.name: parameter for parameter in values}


#: The class of the objects of each kind.
BASES: dict[str, type] = {
    "process": ss.Process,
    "corruption": ss.corruptions.AbstractCorruption,
    "schedule": ss.schedules.AbstractSchedule,
    "parametrisation": ss.parametrisations.AbstractParametrisation,
    "loss": ss.losses.AbstractLoss,
    "times": ss.losses.AbstractTimes,
    "prior": ss.sampling.AbstractPrior,
    "oracle": ss.oracles.AbstractOracle,
    "solver": ss.solvers.AbstractSolver,
    "corrector": ss.solvers.AbstractCorrector,
    "clock": ss.clocks.AbstractClock,
    "metric": ss.fitting.AbstractTransportMetric,
}


def kinds_of(annotation: Any) -> tuple[str, ...]:
    """The kinds that an annotation admits; empty for numbers, texts and functions."""
    found: list[str] = []
    for part in _classes(annotation):
        for kind, wanted in BASES.items():
            if issubclass(part, wanted):
                found.append(kind)
                if kind == "schedule":
                    found.append("fitted")
    return tuple(dict.fromkeys(found))


def _classes(annotation: Any) -> list[type]:
    inner = [part for a in typing.get_args(annotation) for part in _classes(a)]
    if inspect.isclass(annotation) and typing.get_origin(annotation) is None:
        return [annotation, *inner]
    return inner


def describe(target: Target, name: str) -> str:
    """The docstring's sentence on an argument; empty if there is none."""
    documented = target.__init__ if inspect.isclass(target) else target
    for part in (documented, target):
        text = inspect.getdoc(part) or ""
        found = re.search(
            rf"^ *- (?:`[^`]+`, )*`\*?{re.escape(name)}`(?:, `[^`]+`)*: (.*?)(?=^ *- |"
            r"^ *$|^ *\*\*|\Z)",
            text,
            re.DOTALL | re.MULTILINE,
        )
        if found:
            # Links of the API pages become plain names.
            text = re.sub(r"\[(`[^`]+`)\]\S*", r"\1", found.group(1))
            return " ".join(text.split())
    return ""


def summary(target: Target) -> str:
    """The first sentence of a docstring."""
    return (inspect.getdoc(target) or "").split("\n\n")[0].replace("\n", " ")

"""From a spec to the object that it names.

Arguments that come from the data, such as `shape`, are not options: the maker has them
by the name of the parameter.
"""

import collections.abc
import inspect
import re
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import equinox as eqx

import softsde as ss

from . import _registry
from ._errors import CommandError
from ._spec import OWN, Spec

#: Parameters that the data give, for any function or class.
FROM_DATA = frozenset(("shape", "key", "data", "process", "num_classes"))
#: And those of the functions that fit a schedule.
FROM_FIT = frozenset(("corruption", "levels", "data", "start", "key"))
#: Parameters that are never options of a command.
NEVER = FROM_DATA | {"condition_size"}


@dataclass(frozen=True)
class Maker:
    """Makes objects. `given` has the arguments that come from the data, each as a
    function, since some take long and few are needed."""

    given: Mapping[str, Callable[[], Any]] = field(default_factory=dict)

    def knowing(self, **values: Any) -> "Maker":
        """The same with further arguments."""
        more = {name: (lambda value=value: value) for name, value in values.items()}
        return replace(self, given={**self.given, **more})

    def make(self, spec: Spec, kinds: Sequence[str], option: str) -> Any:
        """The object of a spec.

        **Arguments:**

        - `spec`: the name and its options.
        - `kinds`: the kinds that are expected.
        - `option`: where the spec was given, for errors: `--process`.

        **Raises:** `CommandError` for an unknown name or option, or one that the
        function or class refuses, in its own words.
        """
        name, target = resolve(spec, kinds, option)
        if _stands_for_itself(spec, target, kinds):
            return target
        parameters = _registry.parameters(target)
        spec = named(spec, target, option)
        arguments = self._arguments(spec, name, target, parameters, option)
        members = [
            self.convert(value, _many(parameters).annotation, option)
            for value in spec.members
        ]
        try:
            made = target(*members, **arguments)
        except CommandError:
            raise
        except (TypeError, ValueError, RuntimeError, eqx.EquinoxRuntimeError) as error:
            if type(error).__module__.startswith("jax"):
                raise
            raise CommandError(
                f"`{option} {name}`: {in_options(str(error), option, parameters)}"
            ) from error
        if "fitted" in kinds and isinstance(
            made,
            ss.fitting.TransportSchedule | ss.fitting.MatchedErrorSchedule,
        ):
            made = made.schedule
        _check_kind(made, kinds, f"{option} {name}")
        if OWN.fullmatch(name) and "shape" in self.given:
            _check_corruption(made, self.given["shape"](), f"{option} {name}")
        return made

    def _arguments(self, spec, name, target, parameters, option) -> dict[str, Any]:
        by_name = {
            n: p for n, p in parameters.items() if p.kind is not p.VAR_POSITIONAL
        }
        unknown = sorted(set(spec.options) - set(by_name))
        if unknown and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            options = [n for n in by_name if n not in NEVER]
            raise CommandError(
                f"`{option} {name}` has no option {', '.join(unknown)}. Its options "
                f"are {', '.join(options) or '(none)'}."
            )
        from_data = FROM_FIT if _is_fit(target) else FROM_DATA
        arguments = {}
        for parameter in by_name.values():
            where = f"{option}.{parameter.name.replace('_', '-')}"
            if parameter.name in spec.options:
                value = spec.options[parameter.name]
                arguments[parameter.name] = self.convert(
                    value, parameter.annotation, where
                )
            elif parameter.name in from_data and parameter.name in self.given:
                arguments[parameter.name] = self.given[parameter.name]()
        missing = [
            n
            for n, p in by_name.items()
            if p.default is p.empty
            and p.kind is not p.VAR_KEYWORD
            and n not in arguments
        ]
        if missing:
            raise CommandError(
                f"`{option} {name}` needs {', '.join(missing)}. Give it as in "
                f"`{option} '{name}({missing[0]}=...)'`."
            )
        return arguments

    def convert(self, value: Any, annotation: Any, option: str) -> Any:
        """An option as the argument that an annotation asks for."""
        kinds = _registry.kinds_of(annotation)
        anything = not kinds and _admits(annotation, collections.abc.Callable)
        wanted = kinds or tuple(_registry.KINDS)
        if isinstance(value, tuple):
            return tuple(self.convert(part, annotation, option) for part in value)
        if isinstance(value, Spec):
            return self.make(value, wanted, option)
        if isinstance(value, str) and value not in _choices(annotation):
            if "schedule" in kinds and value.endswith(".json"):
                return _load_schedule(value, option)
            if kinds or (anything and _registry.knows(value, wanted)):
                return self.make(Spec(value), wanted, option)
        if type(value) is int and _is_real(annotation):
            return float(value)
        return value


def resolve(spec: Spec, kinds: Sequence[str], option: str) -> tuple[str, Any]:
    """The library's spelling of a spec's name, and what to call.

    A prior is fitted to the data where its class can be.
    """
    name, target = _registry.find(spec.name, kinds, option)
    if tuple(kinds) == ("prior",) and inspect.isclass(target):
        fit = inspect.getattr_static(target, "fit", None)
        if isinstance(fit, classmethod):
            return name, getattr(target, "fit")  # noqa: B009
    return name, target


def named(spec: Spec, target: Any, option: str) -> Spec:
    """A spec whose arguments without a name have got their names.

    Arguments that come from the data are left out of the count: in `GaussianBlur(8)` it
    is the half size.
    """
    parameters = _registry.parameters(target)
    if not spec.members or _many(parameters) is not None:
        return spec
    skipped = NEVER | FROM_FIT if _is_fit(target) else NEVER
    places = [
        name
        for name, p in parameters.items()
        if name not in skipped and p.kind is p.POSITIONAL_OR_KEYWORD
    ]
    if len(spec.members) > len(places):
        raise CommandError(
            f"`{option} {spec}`: {spec.name} takes {len(places)} arguments without a "
            f"name, got {len(spec.members)}."
        )
    values = dict(zip(places, spec.members, strict=False))
    twice = sorted(set(values) & set(spec.options))
    if twice:
        raise CommandError(f"`{option} {spec}` gives {', '.join(twice)} twice.")
    return Spec(spec.name, {**values, **spec.options})


def _many(parameters: Mapping[str, inspect.Parameter]) -> Any:
    """The parameter that takes any number of arguments, as that of `Compose`."""
    return next((p for p in parameters.values() if p.kind is p.VAR_POSITIONAL), None)


def completed(spec: Spec, kinds: Sequence[str], option: str) -> Spec:
    """A spec with the library's spelling and its defaults, to be compared."""
    name, target = resolve(spec, kinds, option)
    spec = named(spec, target, option)
    plain = (bool, int, float, str, tuple, type(None))
    defaults = {
        n: p.default
        for n, p in _registry.parameters(target).items()
        if n not in NEVER and isinstance(p.default, plain)
    }
    return Spec(name, {**defaults, **spec.options}, spec.members)


def own_classes(*specs: Any) -> list[type]:
    """The classes of the user's that some specs name, which a model is loaded with."""
    found: list[type] = []

    def visit(value: Any) -> None:
        if isinstance(value, Spec):
            if OWN.fullmatch(value.name):
                visit(value.name)
            visit(tuple(value.options.values()))
            visit(value.members)
        elif isinstance(value, tuple):
            for part in value:
                visit(part)
        elif isinstance(value, str) and OWN.fullmatch(value):
            _, target = _registry.find(value, (), "module:name")
            if inspect.isclass(target) and target not in found:
                found.append(target)

    visit(specs)
    return found


def in_options(message: str, option: str, names: Mapping[str, Any]) -> str:
    """A message of the library with its arguments as options of the command.

    `max_blur=3` in backticks becomes `--process.max-blur 3`.
    """

    def flag(match: re.Match) -> str:
        name, value = match.group(1), match.group(2)
        if name not in names or not option.startswith("--") or "." in option:
            return match.group()
        words = f"{option}.{name.replace('_', '-')}"
        return f"`{words} {value}`" if value else f"`{words}`"

    return re.sub(r"`(\w+)(?:=([^`]*))?`", flag, message)


def _stands_for_itself(spec: Spec, target: Any, kinds: Sequence[str]) -> bool:
    """Tells whether a function of the user's is itself the argument, and not called."""
    is_own = OWN.fullmatch(spec.name) is not None and inspect.isfunction(target)
    return is_own and not spec.options and not spec.members and "loss" in kinds


def _is_fit(target: Any) -> bool:
    return target in _registry.members("fitted").values()


def _check_kind(made: Any, kinds: Sequence[str], what: str) -> None:
    bases = [_registry.BASES[kind] for kind in kinds if kind in _registry.BASES]
    # Any kind is admitted, or one without a base.
    if not bases or len(bases) < len([kind for kind in kinds if kind != "fitted"]):
        return
    if not isinstance(made, tuple(bases)):
        expected = " or ".join(base.__name__ for base in bases)
        raise CommandError(
            f"`{what}` made a {type(made).__name__}; expected {expected}. Name a "
            "subclass of it, or a function that returns one."
        )


def _check_corruption(made: Any, shape: tuple[int, ...], what: str) -> None:
    """Checks the promises of a corruption of the user's on images of a shape."""
    if not isinstance(made, ss.corruptions.AbstractCorruption):
        return
    try:
        ss.corruptions.check(made, shape)
    except (ValueError, TypeError) as error:
        raise CommandError(f"`{what}`: {error}") from error


def _load_schedule(path: str, option: str) -> ss.schedules.AbstractSchedule:
    try:
        return ss.schedules.load(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CommandError(
            f"`{option} {path}` is no schedule: {error} `python -m "
            "experiments.schedule` writes one."
        ) from error


def _choices(annotation: Any) -> tuple[Any, ...]:
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    return tuple(c for part in typing.get_args(annotation) for c in _choices(part))


def _admits(annotation: Any, kind: Any) -> bool:
    if annotation is kind or typing.get_origin(annotation) is kind:
        return True
    return any(_admits(part, kind) for part in typing.get_args(annotation))


def _is_real(annotation: Any) -> bool:
    """Tells whether an annotation takes real numbers, and no whole ones by itself."""
    if annotation in (Any, inspect.Parameter.empty):
        return False
    return _admits(annotation, float) and not _admits(annotation, int)

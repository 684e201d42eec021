"""The options of `experiments.train`, from the signatures of the library.

`--process`, `--network` and the other parts of a config take the name of a function or
class. Its arguments are options then, with the types, defaults and words of the
library: `--process soft_blur --process.max-blur 5`. So the options of a command depend
on the names in it, and `--help` shows those of the names that are given.
"""

import dataclasses
import inspect
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from tyro.constructors import PrimitiveConstructorSpec

from . import _registry
from ._config import DEFAULT, PARTS, Config
from ._errors import CommandError
from ._make import NEVER, named, resolve
from ._scale import ScaleConfig
from ._spec import Spec, parse, parse_value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _expression(option: str) -> Any:
    """The type of an option that takes a name, with or without options of its own."""
    return Annotated[
        Any,
        PrimitiveConstructorSpec(
            nargs=1,
            metavar="NAME",
            instance_from_str=lambda words: parse_value(words[0], option),
            is_instance=lambda value: True,
            str_from_instance=lambda value: [_text(value)],
        ),
    ]


def _plain_type(annotation: Any, default: Any) -> Any:
    """The type of an option as tyro reads it; `None` if it is not a plain one."""
    if annotation in (int, float, bool, str, type(None)):
        return annotation
    origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return annotation
    if origin in (types.UnionType, typing.Union):
        # Arrays of the library's annotations are numbers at the command line.
        if float in inside and any(_is_array(part) for part in inside):
            return float
        parts = [_plain_type(part, default) for part in inside]
        if any(part is None for part in parts):
            return None
        return typing.Union[tuple(parts)]  # noqa: UP007
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        item = _plain_type(inside[0], default) if inside else None
        return tuple[item, ...] if item in (int, float, str) else None
    return None


def _is_array(annotation: Any) -> bool:
    return inspect.isclass(annotation) and (
        issubclass(annotation, np.ndarray | np.number)
        or "Array" in annotation.__name__
        or "Float" in annotation.__name__
    )


def _part(name: str, spec: Spec, summary: str) -> tuple[str, Any, Any]:
    """A field of the options: the arguments of what `spec` names."""
    option = f"--{name}"
    kind = PARTS[name]
    others = ", ".join(_registry.members(kind))
    if spec == DEFAULT:
        chosen, fields = "chosen for the process and the images", []
    else:
        chosen, target = resolve(spec, (kind,), option)
        fields = _fields(target, spec, option)
    group = dataclasses.make_dataclass(
        f"{name}_options", fields, frozen=True, kw_only=True
    )
    text = f"{summary} Now {chosen}; {option} NAME takes another: {others}."
    return name, Annotated[group, tyro.conf.arg(help=text)], _Made(spec, chosen)


@dataclasses.dataclass(frozen=True)
class _Made:
    spec: Spec
    name: str


def _fields(target: Any, spec: Spec, option: str) -> list[Any]:
    parameters = _registry.parameters(target)
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    unknown = sorted(set(spec.options) - set(parameters))
    if unknown and not takes_all:
        known = [n for n in parameters if n not in NEVER]
        raise CommandError(
            f"`{option} {spec.name}` has no option {', '.join(unknown)}. Its options "
            f"are {', '.join(known) or '(none)'}."
        )
    fields = []
    for name, parameter in parameters.items():
        if name in NEVER:
            continue
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        where = f"{option}.{name.replace('_', '-')}"
        default = spec.options.get(name, parameter.default)
        kind = _plain_type(parameter.annotation, default)
        if kind is None or not _fits(default, kind):
            kind = _expression(where)
        if kind is float and type(default) is int:
            default = float(default)
        text = _registry.describe(target, name)
        kind = Annotated[kind, tyro.conf.arg(help=text or " ")]
        if default is parameter.empty:
            fields.append((name, kind))
        else:
            fields.append((name, kind, dataclasses.field(default=default)))
    return fields


def _fits(default: Any, kind: Any) -> bool:
    """Tells whether tyro can show a default as a value of the type."""
    if default is inspect.Parameter.empty or default is None:
        return True
    if isinstance(default, Spec):
        return False
    if kind is float:
        return isinstance(default, int | float)
    return True


_SUMMARIES = {
    "process": "How images are corrupted.",
    "network": "The network.",
    "loss": "What is minimised.",
    "times": "How the times of a batch are drawn.",
    "prior": "What sampling starts from.",
    "parametrisation": "What the network predicts.",
}


def take(words: Sequence[str], config: Config) -> tuple[list[str], Config]:
    """Takes the names of parts out of the words of a command.

    **Arguments:**

    - `words`: the words of the command, after the experiment's name.
    - `config`: the experiment. Its options of a part stay where the name stays.

    **Returns:** the other words, and the config with these names.
    """
    left: list[str] = []
    taken: dict[str, str] = {}
    i = 0
    while i < len(words):
        word, name = words[i], words[i].removeprefix("--").partition("=")[0]
        if word.startswith("--") and name in PARTS:
            if "=" in word:
                taken[name] = word.partition("=")[2]
            elif i + 1 < len(words) and not words[i + 1].startswith("-"):
                i += 1
                taken[name] = words[i]
            else:
                known = ", ".join(_registry.members(PARTS[name]))
                raise CommandError(f"`--{name}` needs a name: one of {known}.")
        else:
            left.append(word)
        i += 1
    changes: dict[str, Any] = {}
    for name, text in taken.items():
        option, kinds = f"--{name}", (PARTS[name],)
        before, after = getattr(config, name), parse(text, option)
        if after == DEFAULT and name in ("parametrisation", "network"):
            changes[name] = DEFAULT
            continue
        found, target = resolve(after, kinds, option)
        after = named(after, target, option)
        same = before != DEFAULT and resolve(before, kinds, option)[0] == found
        options = {**before.options, **after.options} if same else after.options
        changes[name] = Spec(found, options, after.members)
    return left, dataclasses.replace(config, **changes)


def read(
    words: Sequence[str], config: Config, folder: Path, prog: str, about: str
) -> tuple[Config, Path, ScaleConfig]:
    """Reads the options of an experiment.

    **Arguments:**

    - `words`: the words of the command, after the experiment's name.
    - `config`, `folder`: what holds for options that are left out.
    - `prog`, `about`: the command, and its description, for `--help`.

    **Returns:** the config, the folder to write to, and the devices.
    """
    left, config = take(words, config)
    parts = {
        name: _part(name, getattr(config, name), _SUMMARIES[name]) for name in PARTS
    }
    fields: list[Any] = [
        (
            "folder",
            Annotated[Path, tyro.conf.arg(help="The run folder.")],
            dataclasses.field(default=folder),
        )
    ]
    for field in dataclasses.fields(Config):
        if field.name in parts:
            name, kind, _ = parts[field.name]
            fields.append((name, kind))
        else:
            value = getattr(config, field.name)
            fields.append((field.name, type(value), dataclasses.field(default=value)))
    scale = dataclasses.field(default=ScaleConfig())
    fields.append(("scale", ScaleConfig, scale))
    options = dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True)
    read = tyro.cli(options, prog=prog, description=about, args=left)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Config):
        value = getattr(read, field.name)
        if field.name in parts:
            made = parts[field.name][2]
            if made.spec == DEFAULT:
                value = DEFAULT
            else:
                given = {
                    f.name: getattr(value, f.name) for f in dataclasses.fields(value)
                }
                # A class may take options of any name.
                value = Spec(
                    made.name, {**made.spec.options, **given}, made.spec.members
                )
        values[field.name] = value
    return Config(**values), read.folder, read.scale

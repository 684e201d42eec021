"""Objects of the library as text and as plain data: a name and its options.

    GaussianBlur(half_size=8)
    Compose(GaussianBlur, Fade)
    transport_schedule(num_points=16)
    swirl:Swirl(strength=2.0)

is what one writes at the command line. A `Spec` holds the same as data, and a config
holds specs, so that it can be written to JSON and compared.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ._errors import CommandError

#: A function or class of the user's: the module, a colon and its name.
OWN = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_NAME = re.compile(r"[A-Za-z_]\w*(\.fit)?")


@dataclass(frozen=True)
class Spec:
    """A function or class, by name, and the arguments to call it with."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)
    """Numbers, texts, truth values, tuples, and further specs."""
    members: tuple[Any, ...] = ()
    """Arguments without a name, as those of `Compose`."""

    def __str__(self) -> str:
        parts = [_text(value) for value in self.members]
        parts += [f"{name}={_text(value)}" for name, value in self.options.items()]
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    def to_json(self) -> dict[str, Any]:
        """As plain data."""
        content: dict[str, Any] = {"name": self.name}
        if self.members:
            content["members"] = [_to_json(value) for value in self.members]
        content["options"] = {n: _to_json(value) for n, value in self.options.items()}
        return content

    @staticmethod
    def from_json(content: Any) -> "Spec":
        """From what `to_json` made.

        **Raises:** `ValueError` for anything else.
        """
        value = _from_json(content)
        if not isinstance(value, Spec):
            raise ValueError(f"expected a name and its options, got {content!r}")
        return value


def _text(value: Any) -> str:
    if isinstance(value, Spec):
        return str(value)
    if isinstance(value, tuple):
        inner = ", ".join(_text(part) for part in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def _to_json(value: Any) -> Any:
    if isinstance(value, Spec):
        return value.to_json()
    if isinstance(value, tuple):
        return [_to_json(part) for part in value]
    return value


def _from_json(content: Any) -> Any:
    if isinstance(content, list):
        return tuple(_from_json(part) for part in content)
    if not isinstance(content, dict):
        return content
    if not {"name", "options"} <= set(content) <= {"name", "options", "members"}:
        raise ValueError(f"it has the entries {sorted(content)}")
    options = {name: _from_json(part) for name, part in content["options"].items()}
    members = tuple(_from_json(part) for part in content.get("members", ()))
    return Spec(content["name"], options, members)


def parse(text: str, option: str) -> Spec:
    """Reads a name, or a name and options in brackets.

    **Arguments:**

    - `text`: such as `soft_blur(max_blur=5)`.
    - `option`: the option that it was given to, for errors.

    **Raises:** `CommandError` for text that is neither.
    """
    value = parse_value(text, option)
    if isinstance(value, str) and (_NAME.fullmatch(value) or OWN.fullmatch(value)):
        value = Spec(value)
    if not isinstance(value, Spec):
        raise CommandError(
            f"`{option} {text}` is no name. Write a name, or a name with options, such "
            f"as `{option} 'GaussianBlur(half_size=8)'`."
        )
    return value


def parse_value(text: str, option: str) -> Any:
    """Reads any value: a number, a tuple, a spec with brackets, or else text.

    **Raises:** `CommandError` for brackets that hold no valid options.
    """
    text = text.strip()
    own: list[str] = []

    def hide(match: re.Match) -> str:
        own.append(match.group())
        return f"own_{len(own) - 1}_"

    readable = OWN.sub(hide, text)
    try:
        tree = ast.parse(readable, mode="eval").body
    except SyntaxError as error:
        if "(" not in text:
            return text
        raise CommandError(
            f"`{option} {text}` cannot be read ({error.msg}). Write options as in "
            "`GaussianBlur(half_size=8, padding='reflect')`, with quotes around the "
            "whole for your shell."
        ) from None
    return _read(tree, own, text, option, top=True)


def _read(node: ast.expr, own: list[str], text: str, option: str, top=False) -> Any:
    def inner(part: ast.expr) -> Any:
        return _read(part, own, text, option)

    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(inner(part) for part in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = inner(node.operand)
        if isinstance(value, int | float):
            return -value
    if isinstance(node, ast.Name | ast.Attribute):
        # A bare name may be a class or a text: `resolve` decides, where the expected
        # kind is known.
        return _name(node, own) or (text if top else ast.unparse(node))
    if isinstance(node, ast.Call):
        name = _name(node.func, own)
        if name is not None:
            options = {}
            for keyword in node.keywords:
                if keyword.arg is None:
                    break
                options[keyword.arg] = inner(keyword.value)
            else:
                return Spec(name, options, tuple(inner(part) for part in node.args))
    if top and "(" not in text:
        return text
    raise CommandError(
        f"`{option} {text}` cannot be read. It may hold names, numbers, quoted texts, "
        "tuples, and names with options in brackets: nothing is computed."
    )


def _name(node: ast.expr, own: list[str]) -> str | None:
    if isinstance(node, ast.Name):
        match = re.fullmatch(r"own_(\d+)_", node.id)
        return own[int(match.group(1))] if match else node.id
    if isinstance(node, ast.Attribute) and node.attr == "fit":
        before = _name(node.value, own)
        return None if before is None else f"{before}.fit"
    return None

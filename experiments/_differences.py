"""The lines that say by what two configs, or two networks, differ."""

from collections.abc import Mapping
from typing import Any


def differences(
    found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = ""
) -> str:
    """The lines that say by which options a config, or a network, differs."""
    return "\n".join(
        f"  {prefix}{name}: {found.get(name)} there, {wanted.get(name)} asked for"
        for name in sorted(found.keys() | wanted.keys())
        if found.get(name) != wanted.get(name)
    )


def plain(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by the names that they have at the command line."""
    flat = {}
    for name, value in content.items():
        place = prefix + name.replace("_", "-")
        if isinstance(value, dict) and set(value) >= {"name", "options"}:
            flat[place] = value["name"] + "".join(
                f" {part}" for part in value.get("members", ())
            )
            flat |= plain(value["options"], f"{place}.")
        elif isinstance(value, dict):
            flat |= plain(value, f"{place}.")
        else:
            flat[place] = tuple(value) if isinstance(value, list) else value
    return flat

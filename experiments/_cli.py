"""What the commands share: how they are asked, how they fail and how they end."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import tyro

from ._config import PRESETS

T = TypeVar("T")


def with_presets(
    kind: type[T], defaults: Mapping[str, T], description: str | None
) -> T:
    """Reads a command whose first word is the name of an experiment."""
    del kind
    return tyro.extras.overridable_config_cli(
        {name: (PRESETS[name][0], default) for name, default in defaults.items()},
        description=description,
    )


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """A mistake of the user's ends in its message, without a traceback."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        sys.exit(f"\nerror: {error}")


def wrote(folder: Path, *names: str) -> None:
    """Says what a command has left behind."""
    print(f"\nWrote to {folder}/")
    for name in names:
        print(f"  {name}")


def next_commands(*commands: str) -> None:
    """Says what to run next."""
    print("Next:")
    for command in commands:
        print(f"  {command}")

"""What the commands share: reading options, reporting errors, and the last lines."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import tyro

from ._config import PRESETS

T = TypeVar("T")


def parse(command: type[T], module: str, description: str | None) -> T:
    """Reads the options of a command."""
    return tyro.cli(command, prog=f"python -m {module}", description=description)


def parse_preset(defaults: Mapping[str, T], module: str, description: str | None) -> T:
    """Reads the options of a command whose first word is the name of an experiment."""
    kind = tyro.extras.subcommand_type_from_defaults(
        defaults, {name: PRESETS[name].summary for name in defaults}
    )
    return tyro.cli(kind, prog=f"python -m {module}", description=description)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """A mistake of the user ends with its message, without a traceback."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ImportError) as error:
        sys.exit(f"\nerror: {error}")
    except RuntimeError as error:
        # A folder that is in use, or whose checkpoints are damaged. Subclasses are
        # errors of JAX, which need their traceback.
        if type(error) is not RuntimeError:
            raise
        sys.exit(f"\nerror: {error}")


def wrote(*paths: Path) -> None:
    """Names the files that a command has written."""
    print("\nWrote")
    for path in paths:
        print(f"  {path}")


def next_commands(*commands: str) -> None:
    """Names commands to run next."""
    print("Next:")
    for command in commands:
        print(f"  {command}")

"""`python -m experiments` lists the commands."""

import ast
import contextlib
import sys
from pathlib import Path

from ._output import LEFT, reader_left

#: In the order in which a newcomer meets them.
_FIRST = ("quickstart", "train", "sample", "evaluate", "compare", "schedule")


def commands() -> dict[str, str]:
    """Each command and the first sentence of its docstring, without importing it."""
    found = {}
    for path in Path(__file__).parent.glob("[!_]*.py"):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        found[path.stem] = text.split(": `")[0].splitlines()[0]
    order = [name for name in _FIRST if name in found]
    return {name: found[name] for name in [*order, *sorted(set(found) - set(order))]}


def main() -> None:
    with contextlib.suppress(BrokenPipeError):
        _print()
    if reader_left():
        sys.exit(LEFT)


def _print() -> None:
    print("Commands, each with `python -m experiments.NAME --help`:\n")
    for name, sentence in commands().items():
        print(f"  {name:12}{sentence}")
    print("\nNext:\n  python -m experiments.quickstart")


if __name__ == "__main__":
    main()

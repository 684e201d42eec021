"""Make a run's model one that comes with the code:
`python -m experiments.pretrained RUN NAME`.
"""

from dataclasses import dataclass
from typing import Annotated

import tyro

from .. import _cli
from ._export import export


@dataclass(frozen=True)
class Export:
    """Copy a run's model to where it is loaded from by name."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """The name to load it by."""


def main() -> None:
    with _cli.plain_errors():
        command = _cli.parse(Export, "experiments.pretrained", __doc__)
        _cli.wrote(export(command.run, command.name))
        _cli.next_commands(f"python -m experiments.sample {command.name}")


if __name__ == "__main__":
    main()

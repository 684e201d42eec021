"""Fetch a run from a bucket: `python -m experiments.fetch gs://BUCKET/RUN`.

`python -m experiments.train ... --scale.mirror gs://BUCKET/RUN` keeps a copy of a run
there. This brings it to a folder, from which every command reads it, and in which
training goes on.

    python -m experiments.fetch gs://my-bucket/blur
    python -m experiments.train --resume runs/blur
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from . import _cli, _mirror


@dataclass(frozen=True)
class Fetch:
    """Fetch a run from a bucket."""

    address: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ADDRESS")]
    """Where the copy is: what `--scale.mirror` was given."""
    folder: Path | None = None
    """Where to write; by default `runs/NAME` with the last word of the address."""


def fetch(command: Fetch) -> Path:
    """Fetches, and returns the folder."""
    name = command.address.rstrip("/").rpartition("/")[2]
    folder = Path("runs") / name if command.folder is None else command.folder
    mirror = _mirror.open_mirror(folder, command.address)
    number = _mirror.fetch(mirror)
    print(f"{number} files of {command.address}")
    return folder


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    folder = fetch(_cli.parse(Fetch, "experiments.fetch", __doc__))
    _cli.wrote(folder)
    _cli.next_commands(
        _cli.command("experiments.train", "--resume", folder),
        _cli.command("experiments.sample", folder),
    )


if __name__ == "__main__":
    main()

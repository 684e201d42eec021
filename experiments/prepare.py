"""Pack a data set for fast reading: `python -m experiments.prepare pictures packed`.

Decodes, crops and resizes every picture once. `--data.source` of the other commands
takes the folder that this writes.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

import softsde as ss

from . import _cli
from ._errors import CommandError


@dataclass(frozen=True)
class Prepare:
    """Pack a data set."""

    source: Annotated[str, tyro.conf.Positional]
    """A folder of pictures, or whatever else `--data.source` takes."""
    folder: Annotated[Path, tyro.conf.Positional]
    """Folder for the packed data set."""
    size: int | None = None
    """Side in pixels to which the pictures of a folder are resized."""
    crop: int | None = None
    """Side of the square cut out of the middle first; CelebA's are 140 or 148."""
    channels: Literal[1, 3] = 3
    """Channels of the pictures of a folder: 3 for colour, 1 for grey."""
    splits: tuple[str, ...] = ("train",)
    """Splits to pack, each into a subfolder if there are several."""
    on_corrupt: Literal["refuse", "skip"] = "refuse"
    """Action for a picture that cannot be read: stop, or leave it out."""
    threads: int = 2
    """Threads that decode."""


def open_source(command: Prepare, split: str) -> ss.data.AbstractSource:
    """The pictures of a split.

    **Raises:** `CommandError` if the options do not fit the source.
    """
    folder = Path(command.source)
    if command.crop is None:
        return ss.data.load(command.source, split, size=command.size)
    if not folder.is_dir() or command.size is None:
        raise CommandError(
            "`--crop` is for a folder of pictures, and needs `--size`, the side that "
            "they are resized to."
        )
    part = folder / split if (folder / split).is_dir() else folder
    return ss.data.ImageFolderSource(
        part,
        command.size,
        channels=command.channels,
        crop=command.crop,
        # Each picture is read right after this, and a bad one is dealt with then.
        check=False,
    )


def prepare(command: Prepare) -> None:
    """Packs every split."""
    for split in command.splits:
        source = open_source(command, split)
        target = command.folder / split if len(command.splits) > 1 else command.folder
        began = time.monotonic()
        found = ss.data.pack(
            source,
            target,
            on_corrupt=command.on_corrupt,
            num_threads=command.threads,
        )
        seconds = time.monotonic() - began
        print(
            f"{split}: {found['images']} images of {source.shape}, {found['skipped']} "
            f"left out, {found['images'] / seconds:.0f} images/s; {target}/"
        )


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Prepare, "experiments.prepare", __doc__)
    prepare(command)
    _cli.next_commands(
        _cli.command(
            "experiments.train",
            "images",
            "--data.source",
            command.folder,
            "--folder",
            Path("runs") / command.folder.name,
        )
    )


if __name__ == "__main__":
    main()

"""The images of a command: found by name, or one's own in a file or a folder."""

import hashlib
import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

import softsde as ss

from ._errors import CommandError, FolderError

#: Pictures of a folder are kept in memory up to this size, in bytes.
_IN_MEMORY = 2**30


@dataclass(frozen=True)
class ImagesConfig:
    """Options for reading your own images."""

    size: int | None = None
    """Side in pixels to which the pictures of a folder are cropped and resized; by
    default their own, if they are squares of one size."""
    channels: Literal[1, 3] | None = None
    """1 for grey, 3 for colour; by default what the pictures of a folder are."""
    folders: Literal["auto", "splits", "classes"] = "auto"
    """Subfolders are `splits` (train, test) or `classes`; by default splits if each is
    named like one, and else classes."""
    channels_first: bool = False
    """The array of a .npy or .npz file is (number, channels, height, width)."""
    value_range: tuple[float, float] | None = None
    """Black and white of a .npy or .npz file, where they are not 0 and 1, or 0 and 255
    for 8-bit numbers: -1 1, say."""

    def words(self, prefix: str) -> list[str]:
        """The options that differ from the defaults, as one types them."""
        words: list[str] = []
        for field in fields(self):
            value = getattr(self, field.name)
            if value == field.default:
                continue
            words.append(f"{prefix}{field.name.replace('_', '-')}")
            if value is not True:
                many = value if isinstance(value, tuple) else (value,)
                words += [f"{v:g}" if isinstance(v, float) else str(v) for v in many]
        return words


def is_own(source: str) -> bool:
    """Tells whether images are a file or a folder, and no data set with a name."""
    return source.lower().replace("-", "_") not in ss.data.names()


def data_name(source: str) -> str:
    """A name for folders: that of the data set, or one that no other path has."""
    if not is_own(source):
        return source.lower().replace("-", "_")
    path = Path(source).expanduser()
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()
    return f"{path.stem}_{digest[:6]}"


def load(
    source: str,
    images: ImagesConfig,
    split: str = "train",
    *,
    held_out: float = 0.1,
    prefix: str = "--",
) -> ss.data.AbstractSource:
    """The images of a split.

    One's own images without a test split are split by the hash of their content.

    **Arguments:**

    - `source`: a name or a path.
    - `images`: how to read it.
    - `split`: `"train"` or `"test"`.
    - `held_out`: the share of one's own images that is held out.
    - `prefix`: what the options begin with, for errors: `--data.` or `--`.

    **Raises:** `FolderError` for images that are not there or cannot be read, with the
    option that mends it.
    """
    try:
        if not is_own(source):
            return _load(source, images, split)
        whole = _load(source, images, "train")
        test = _own_test(source, images)
        if test is None and held_out > 0:
            whole, test = ss.data.held_out(whole, held_out)
        if split == "test" and test is None:
            raise FolderError(
                f"{source} has no test images, and none are held out: see `{prefix}"
                "held-out`."
            )
        chosen = whole if split == "train" else test
        assert chosen is not None
        return _in_memory(chosen)
    except FolderError:
        raise
    except (ValueError, TypeError, OSError, ImportError) as error:
        raise FolderError(in_options(str(error), prefix)) from error


def _load(source: str, images: ImagesConfig, split: str) -> ss.data.AbstractSource:
    return ss.data.load(
        source,
        split,
        size=images.size,
        channels=images.channels,
        folders=images.folders,
        channels_first=images.channels_first,
        value_range=images.value_range,
    )


def _own_test(source: str, images: ImagesConfig) -> ss.data.AbstractSource | None:
    """The test split that a folder has, if any."""
    if not Path(source).expanduser().is_dir():
        return None
    try:
        return _load(source, images, "test")
    except (ValueError, FileNotFoundError):
        return None


def _in_memory(source: ss.data.AbstractSource) -> ss.data.AbstractSource:
    if isinstance(source, ss.data.AbstractInMemorySource):
        return source
    if len(source) * int(np.prod(source.shape)) > _IN_MEMORY:
        return source
    pictures = np.stack([source[i]["image"] for i in range(len(source))])
    return ss.data.ArraySource(pictures, source.labels, class_names=source.class_names)


def describe_split(source: str, held_out: float) -> dict[str, Any] | None:
    """Describes the choice of the held-out images, for the card of a model."""
    if not is_own(source):
        return None
    return {
        "share": held_out,
        "rule": "held out if the SHA-256 of the pixels, as a number in [0, 1), is "
        "below the share; the folder's own test split is used instead if it has one",
    }


def in_options(message: str, prefix: str) -> str:
    """A message of `softsde.data` with arguments as options of the command."""

    def flag(match: re.Match) -> str:
        name, value = match.group(1), match.group(2) or ""
        words = f"{prefix}{name.replace('_', '-')}"
        value = re.sub(r"[(),'\"]", " ", "" if value == "True" else value)
        return f"`{' '.join([words, *value.split()])}`"

    names = "size|channels|folders|channels_first|value_range|share"
    message = re.sub(rf"`({names})(?:=([^`]*))?`", flag, message)
    message = message.replace(f"{prefix}share", f"{prefix}held-out")
    # Advice in Python is no use here, where an option does the same.
    message = re.sub(r"[Uu]se `np\.moveaxis[^`]*`, or pass", "Give", message)
    message = re.sub(r": use `[^`]*`, or pass", ": give", message)
    message = re.sub(r"Rescale them, for example `[^`]*`, or pass", "Give", message)
    message = re.sub(r"`\.astype[^`]*` or by passing", "", message)
    message = re.sub(r"with +`", "with `", message)
    message = re.sub(r"Drop them with `[^`]*`", "Remove them from the file", message)
    message = re.sub(
        r" (A single image becomes|One-hot or probability labels become).*", "", message
    )
    message = message.replace(
        "Use the `Resize` transform in the loader.", "Leave it out."
    )
    return message.replace("Pass `--", "Give `--").replace("pass `--", "give `--")


def check_share(held_out: float, prefix: str) -> None:
    """Refuses a share that is none."""
    if not 0 <= held_out < 1:
        raise CommandError(
            f"`{prefix}held-out` is {held_out}; expected a share from 0 up to, not "
            "including, 1."
        )

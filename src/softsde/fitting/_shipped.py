"""Schedules that come with the package, each with a record of its origin."""

import difflib
import pathlib
from typing import Any

from .. import schedules
from ..schedules import AbstractSchedule

_FOLDER = pathlib.Path(__file__).parent / "shipped"


def shipped_names() -> list[str]:
    """The names that [`softsde.fitting.shipped`][] accepts."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def shipped(name: str) -> AbstractSchedule:
    """A level schedule that comes with the package.

    Each was chosen by optimal transport on the training images of a data set, for the
    paper's two-phase noise: the level waits while the noise grows, in the first fifth
    of the time. [`softsde.fitting.provenance`][] says what it was computed from, and
    with which command.

    **Arguments:**

    - `name`: data set and corruption, such as `"fashion_mnist_blur"`; one of
        [`softsde.fitting.shipped_names`][].

    **Returns:** the level as a function of time.

    **Raises:** `ValueError` for an unknown name.

    !!! example

        ```python
        process = ss.soft_blur(shape, levels=ss.fitting.shipped("fashion_mnist_blur"))
        ```
    """
    return schedules.load(_path(name))


def provenance(name: str) -> dict[str, Any]:
    """Describes how a schedule that comes with the package was computed.

    The record of a file of your own is [`softsde.schedules.provenance`][].

    **Arguments:**

    - `name`: as in [`softsde.fitting.shipped`][].

    **Returns:** data set, number of images, levels, command and more, as plain data.

    **Raises:** `ValueError` for an unknown name.

    !!! example

        ```python
        ss.fitting.provenance("digits_blur")["images"]  # 1500
        ```
    """
    return schedules.provenance(_path(name))


def _path(name: str) -> pathlib.Path:
    names = shipped_names()
    if name not in names:
        near = difflib.get_close_matches(name, names)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"No schedule {name!r} comes with the package; there are: "
            f"{', '.join(names)}.{hint} `python -m experiments.schedule` computes one."
        )
    return _FOLDER / f"{name}.json"

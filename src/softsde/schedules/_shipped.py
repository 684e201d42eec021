"""Schedules that come with the package: computed once, with their provenance."""

import difflib
import pathlib

from ._base import AbstractSchedule
from ._io import load

_FOLDER = pathlib.Path(__file__).parent / "shipped"


def shipped_names() -> list[str]:
    """The names that [`softsde.schedules.shipped`][] knows."""
    return sorted(path.stem for path in _FOLDER.glob("*.json"))


def path_of(name: str) -> pathlib.Path:
    return _FOLDER / f"{name}.json"


def shipped(name: str) -> AbstractSchedule:
    """A level schedule that comes with the package.

    Each was chosen by optimal transport on the training images of a data set, for the
    paper's two-phase noise: the level rests while the noise grows, in the first fifth
    of the time. [`softsde.schedules.provenance`][] tells what it was computed from, and
    by which command.

    **Arguments:**

    - `name`: of the data set and the corruption, such as `"fashion_mnist_blur"`; one of
        [`softsde.schedules.shipped_names`][].

    **Returns:** the level as a function of time.

    **Raises:** `ValueError` for a name that there is not.

    !!! example

        ```python
        process = ss.soft_blur(shape, levels=ss.schedules.shipped("fashion_mnist_blur"))
        ```
    """
    names = shipped_names()
    if name not in names:
        near = difflib.get_close_matches(name, names)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"No schedule {name!r} comes with the package; there are: "
            f"{', '.join(names)}.{hint} `python -m experiments.schedule` computes one."
        )
    return load(path_of(name))

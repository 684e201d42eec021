"""Corruptions by name, and the candidate levels of a schedule."""

import jax
import numpy as np

import softsde as ss

from . import _registry
from ._errors import CommandError
from ._make import Maker
from ._spec import parse

Shape = tuple[int, int, int]


def make(text: str, shape: Shape) -> ss.corruptions.AbstractCorruption:
    """The corruption of a name, for images of a shape."""
    maker = Maker({"shape": lambda: tuple(shape), "key": lambda: jax.random.key(0)})
    return maker.make(parse(text, "--corruption"), ("corruption",), "--corruption")


def make_name(text: str) -> str:
    """The library's spelling of the name of a corruption."""
    name, _ = _registry.find(
        parse(text, "--corruption").name, ("corruption",), "--corruption"
    )
    return name


#: Standard deviation of the last blur in units of the image's side: 18 pixels at 32.
LAST_BLUR = 9 / 16
#: Start of a geometric progression, in pixels: too small to blur anything.
FIRST_BLUR = 0.01


def candidates(
    corruption: ss.corruptions.AbstractCorruption,
    shape: Shape,
    number: int,
    *,
    first: float | None = None,
    last: float | None = None,
) -> np.ndarray:
    """Levels from no corruption to full corruption.

    They are evenly spaced if the family declares a last level. Otherwise, as for blurs,
    they are a geometric progression up to a share of the side of the images.
    """
    low, high = corruption.structure.level_range
    if high is not None:
        ends = (low or 0.0) if first is None else first, high if last is None else last
        return np.linspace(*ends, number)
    first = FIRST_BLUR if first is None else first
    last = LAST_BLUR * max(shape[:2]) if last is None else last
    if not 0 < first < last:
        raise CommandError(
            f"The levels should rise from above 0, got {first} to {last}: see "
            "`--first-level` and `--last-level`."
        )
    return np.geomspace(first, last, number)

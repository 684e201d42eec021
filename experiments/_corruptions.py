"""Corruptions by name, and the candidate levels of a schedule."""

from collections.abc import Callable
from typing import Literal

import jax
import numpy as np

import softsde as ss

Shape = tuple[int, int, int]
Spacing = Literal["geometric", "linear"]

#: Made for images of a shape, with defaults for all other arguments.
CORRUPTIONS: dict[str, Callable[[Shape], ss.corruptions.AbstractCorruption]] = {
    "gaussian_blur": ss.corruptions.GaussianBlur,
    "heat_blur": ss.corruptions.HeatBlur,
    "motion_blur": ss.corruptions.MotionBlur,
    "center_mask": ss.corruptions.CenterMask,
    "soft_mask": ss.corruptions.SoftMask,
    "random_mask": lambda shape: ss.corruptions.RandomMask(
        shape, key=jax.random.key(0)
    ),
    "downsample": ss.corruptions.Downsample,
    "fade": lambda shape: ss.corruptions.Fade(),
    "desaturate": lambda shape: ss.corruptions.Desaturate(),
}

CorruptionName = Literal[
    "gaussian_blur",
    "heat_blur",
    "motion_blur",
    "center_mask",
    "soft_mask",
    "random_mask",
    "downsample",
    "fade",
    "desaturate",
]

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
        raise ValueError(
            f"The levels should rise from above 0, got {first} to {last}: see "
            "`--first-level` and `--last-level`."
        )
    return np.geomspace(first, last, number)

"""Checks arrays before a metric computes anything."""

import math

import numpy as np
from jaxtyping import Array, Shaped

# What a user may hand over; everything is NumPy inside.
AnyArray = Array | np.ndarray


def as_features(
    name: str, x: Shaped[AnyArray, "..."], *, at_least: int = 1
) -> np.ndarray:
    """`x` as a finite `(num, dim)` NumPy array of at least `at_least` rows."""
    x = np.asarray(x)
    if x.ndim != 2:
        raise ValueError(
            f"`{name}` has shape {x.shape}, but features are `(num, dim)`."
            " For images, pass `extract_features(fn, images)`, or, to compare pixels,"
            " `images.reshape(len(images), -1)`."
        )
    if len(x) < at_least:
        raise ValueError(
            f"`{name}` has {len(x)} rows, but at least {at_least} are needed."
            " Draw more samples."
        )
    if x.shape[1] == 0:
        raise ValueError(f"`{name}` has shape {x.shape}: its rows are empty.")
    check_finite(name, x)
    return x


def flatten(name: str, x: Shaped[AnyArray, "..."]) -> np.ndarray:
    """A batch of arrays of any shape as features: every row flattened."""
    x = np.asarray(x)
    if x.ndim < 2:
        raise ValueError(
            f"`{name}` has shape {x.shape}, but a batch `(num, ...)` of arrays is"
            " expected. For scalars, pass `x[:, None]`; for a single array, `x[None]`."
        )
    return as_features(name, x.reshape(len(x), math.prod(x.shape[1:])))


def check_finite(name: str, x: np.ndarray) -> None:
    # By blocks, so that a memory map is not met by a mask of its size.
    bad = sum(
        np.count_nonzero(~np.isfinite(x[start : start + 4096]))
        for start in range(0, len(x), 4096)
    )
    if bad:
        raise ValueError(
            f"`{name}` has {bad} entries out of {x.size} that are not finite. A metric"
            " that skipped them would flatter the samples: find out which samples"
            " diverged."
        )


def check_comparable(name_a: str, a: np.ndarray, name_b: str, b: np.ndarray) -> None:
    """Rows of equal length, and not bytes on one side with floats on the other."""
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"`{name_a}` has {a.shape[1]} features a row and `{name_b}` has"
            f" {b.shape[1]}: they must come from one feature space, that is from the"
            " same extractor on images of the same size."
        )
    if (a.dtype.kind in "iu") != (b.dtype.kind in "iu"):
        raise TypeError(
            f"`{name_a}` is {a.dtype} and `{name_b}` is {b.dtype}: these are likely"
            " images in 0 ... 255 and in [0, 1]. Divide the bytes by 255 first."
        )


def check_positive_int(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"`{name}` is {value!r}, but an integer >= 1 is expected.")

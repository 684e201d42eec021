"""Chooses samples to look at, where a few thousand do for all."""

import numpy as np
from jaxtyping import Array, Shaped


def evenly_spaced(
    data: Shaped[Array | np.ndarray, "number *shape"], max_samples: int
) -> Shaped[np.ndarray, "chosen *shape"]:
    """At most `max_samples` of `data`, evenly spaced over them, ends included."""
    number = min(len(data), max_samples)
    return np.asarray(data)[np.linspace(0, len(data) - 1, number).astype(int)]

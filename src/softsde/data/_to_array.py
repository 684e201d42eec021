"""A whole source as one array, for priors, oracles and metrics."""

import numpy as np
from jaxtyping import Float, Int

from ._source import AbstractInMemorySource, AbstractSource


def to_array(
    source: AbstractSource, limit: int | None = None
) -> Float[np.ndarray, "n height width channels"]:
    """The images of a source as one `float32` array in [0, 1].

    **Arguments:**

    - `source`: where the images come from.
    - `limit`: the largest number of images; they are spread evenly over the source,
      because a source may be in the order of its classes.

    **Returns:** `(n, height, width, channels)`.

    **Raises:** ValueError where `limit` is not positive.

    !!! example
        ```python
        images = ss.data.to_array(ss.data.digits(), limit=100)
        images.shape  # (100, 8, 8, 1)
        ```
    """
    indices = _spread(source, limit)
    if isinstance(source, AbstractInMemorySource):
        return as_float(source.images[indices])
    return np.stack([as_float(source[i]["image"]) for i in indices])


def to_labels(
    source: AbstractSource, limit: int | None = None
) -> Int[np.ndarray, " n"]:
    """The labels of the images that [`softsde.data.to_array`][] gives, as `int32`.

    **Arguments:** those of [`softsde.data.to_array`][].

    **Returns:** `(n,)`; -1 where a class is not known.
    """
    return source.labels[_spread(source, limit)]


def as_float(image: np.ndarray) -> np.ndarray:
    """`uint8` in [0, 255] to `float32` in [0, 1]; floats stay what they are."""
    if image.dtype == np.uint8:
        return np.divide(image, 255, dtype=np.float32)
    return image.astype(np.float32, copy=False)


def _spread(source: AbstractSource, limit: int | None) -> np.ndarray:
    if limit is not None and limit < 1:
        raise ValueError(f"`limit` must be at least 1 or None, got {limit}.")
    total = len(source)
    count = total if limit is None else min(limit, total)
    return np.arange(count) * total // count

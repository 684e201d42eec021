"""The pixels themselves as a feature space."""

import equinox as eqx
from jaxtyping import Array, Float

from ._features import AbstractFeatures
from ._hash import hash_tree


class PixelFeatures(AbstractFeatures):
    """The entries of an image as they are, as one vector.

    Distances of pixels say whether a distribution is met, but not whether the images
    look right. They need no network, and their truth is known for Gaussian data.

    ```python
    ss.metrics.extract_features(ss.metrics.PixelFeatures(), images)
    ```
    """

    name: str = eqx.field(static=True)
    hash: str = eqx.field(static=True)
    resize: str = eqx.field(static=True)
    value_range: tuple[float, float] = eqx.field(static=True)
    size: tuple[int | None, int | None, int | None] = eqx.field(static=True)
    published: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, value_range: tuple[float, float] = (0.0, 1.0)):
        """**Arguments:**

        - `value_range`: smallest and largest entry of an image; `(-inf, inf)` for any.
        """
        low, high = value_range
        self.name, self.hash, self.resize = "pixels", hash_tree("pixels"), "none"
        self.value_range = (float(low), float(high))
        self.size, self.published = (None, None, None), ()

    def __call__(
        self, images: Float[Array, "batch *image"]
    ) -> Float[Array, "batch features"]:
        return images.reshape(len(images), -1)

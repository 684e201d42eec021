"""Changes an image between its source and its batch.

A transform maps `{"image", "label"}` to the same. Random ones get grain's generator,
which is a function of the loader's seed and of the place in the stream, so that a
resumed run draws what an uninterrupted one would have.
"""

from dataclasses import dataclass
from typing import Any

import grain
import numpy as np

from ._to_array import as_float


@dataclass(frozen=True)
class Pad(grain.transforms.Map):
    """Pads an image to `size` by `size` pixels, keeping it in the centre.

    Where the margin is odd the extra row or column is at the bottom or right.

    **Arguments:**

    - `size`: height and width after padding.
    - `fill`: the grey level of the margin, in [0, 1].

    **Raises:** ValueError for a fill outside [0, 1] and for an image that is larger.

    !!! example
        ```{ .python .no-run }
        loader = ss.data.make_loader(ss.data.mnist(), 128, transforms=[ss.data.Pad(32)])
        next(iter(loader))["image"].shape  # (128, 32, 32, 1)
        ```
    """

    size: int
    fill: float = 0.0

    def __post_init__(self):
        if not 0 <= self.fill <= 1:
            raise ValueError(f"`fill` must be in [0, 1], got {self.fill}.")

    def map(self, element: dict[str, Any]) -> dict[str, Any]:
        image = element["image"]
        height, width, channels = image.shape
        if max(height, width) > self.size:
            raise ValueError(
                f"Pad(size={self.size}) cannot hold an image of {height}x{width}; use "
                "`Resize` to shrink it."
            )
        top, left = (self.size - height) // 2, (self.size - width) // 2
        fill = round(255 * self.fill) if image.dtype == np.uint8 else self.fill
        padded = np.full((self.size, self.size, channels), fill, image.dtype)
        padded[top : top + height, left : left + width] = image
        return {**element, "image": padded}


@dataclass(frozen=True)
class RandomFlip(grain.transforms.RandomMap):
    """Mirrors an image left to right with some probability.

    **Arguments:**

    - `probability`: of mirroring, in [0, 1].

    **Raises:** ValueError for a probability outside [0, 1].
    """

    probability: float = 0.5

    def __post_init__(self):
        if not 0 <= self.probability <= 1:
            raise ValueError(
                f"`probability` must be in [0, 1], got {self.probability}."
            )

    def random_map(
        self, element: dict[str, Any], rng: np.random.Generator
    ) -> dict[str, Any]:
        if rng.random() < self.probability:
            return {**element, "image": element["image"][:, ::-1]}
        return element


@dataclass(frozen=True)
class Resize(grain.transforms.Map):
    """Resizes an image to `size` by `size` pixels, without aliasing.

    The filter is bicubic, widened when it shrinks; the result is `float32`, not rounded
    to 256 levels again, and clipped to [0, 1] where the filter overshoots.

    **Arguments:**

    - `size`: height and width afterwards.

    **Raises:** ValueError for a size below 1; ImportError without pillow.
    """

    size: int

    def __post_init__(self):
        if self.size < 1:
            raise ValueError(f"`size` must be at least 1 pixel, got {self.size}.")

    def map(self, element: dict[str, Any]) -> dict[str, Any]:
        try:
            from PIL import Image
        except ImportError as error:
            raise ImportError(
                "Resize uses pillow: pip install 'softsde[experiments]'"
            ) from error
        image = as_float(element["image"])
        # pillow knows floating pixels only one channel at a time.
        channels = [
            Image.fromarray(np.ascontiguousarray(image[..., c])).resize(
                (self.size, self.size), Image.Resampling.BICUBIC
            )
            for c in range(image.shape[-1])
        ]
        resized = np.stack([np.asarray(channel) for channel in channels], axis=-1)
        return {**element, "image": np.clip(resized, 0, 1)}

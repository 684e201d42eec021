"""Grids of images, as `uint8` arrays: they can be tested, logged or shown anywhere."""

import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Shaped, UInt8

from ._text import PAPER, with_labels

AnyArray = Array | np.ndarray

# A pixel that is not a number must not pass for a black one.
_NOT_FINITE = (255, 0, 255)


def image_grid(
    images: Shaped[AnyArray, "num ..."],
    *,
    columns: int = 8,
    scale: int = 1,
    pad: int = 1,
    labels: Sequence[str] | None = None,
) -> UInt8[np.ndarray, "height width channels"]:
    """Images side by side, row by row, as one image.

    Floats are clipped to `[0, 1]`; entries that are not finite are shown in magenta, so
    that a diverged sample looks like one.

    **Arguments:**

    - `images`: `(num, height, width, channels)` with 1 or 3 channels; floats in
        `[0, 1]` or bytes.
    - `columns`: images in a row; fewer if there are fewer images.
    - `scale`: each pixel becomes a square of this size, without interpolation.
    - `pad`: white pixels between and around images, not scaled.
    - `labels`: a short text under each image, cut at the image's width (needs pillow).

    **Returns:**

    A `uint8` array `(height, width, channels)`.

    **Raises:** `ValueError` for arrays that are not a batch of grey or RGB images, and
    `TypeError` for integers other than bytes.

    ```python
    grid = ss.plotting.image_grid(samples, columns=8, scale=2)
    ss.plotting.save_png("samples.png", grid)
    ```
    """
    check_int("columns", columns, 1)
    check_int("scale", scale, 1)
    check_int("pad", pad, 0)
    tiles = to_bytes(images)
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    if labels is not None:
        if len(labels) != len(tiles):
            raise ValueError(
                f"`labels` has {len(labels)} entries for {len(tiles)} images; expected"
                " one each ('' for none)."
            )
        tiles = with_labels(tiles, labels)
    num, height, width, channels = tiles.shape
    columns = min(columns, num)
    rows = math.ceil(num / columns)
    step_y, step_x = height + pad, width + pad
    grid = np.full((rows * step_y + pad, columns * step_x + pad, channels), PAPER)
    grid = grid.astype(np.uint8)
    for index, tile in enumerate(tiles):
        y, x = pad + index // columns * step_y, pad + index % columns * step_x
        grid[y : y + height, x : x + width] = tile
    return grid


def trajectory_strip(
    trajectory: Shaped[AnyArray, "..."],
    *,
    frames: int = 8,
    scale: int = 1,
    pad: int = 1,
) -> UInt8[np.ndarray, "height width channels"]:
    """The way from the prior to the samples: a row a sample, time from left to right.

    **Arguments:**

    - `trajectory`: `(num, times, height, width, channels)`, or a single trajectory
        `(times, height, width, channels)`.
    - `frames`: how many times are shown, evenly spaced in index, the first and the last
        always among them; all if there are fewer.
    - `scale`, `pad`: as for `image_grid`.

    **Returns:**

    A `uint8` array `(height, width, channels)`.

    ```python
    drawn = ss.sample(denoiser, x1=xs, num_steps=8, save_trajectory=True, key=key)
    ss.plotting.save_png("way.png", ss.plotting.trajectory_strip(drawn.trajectory))
    ```
    """
    check_int("frames", frames, 2)
    trajectory = np.asarray(trajectory)
    if trajectory.ndim == 4:
        trajectory = trajectory[None]
    if trajectory.ndim != 5 or trajectory.shape[1] == 0:
        raise ValueError(
            f"`trajectory` has shape {trajectory.shape}; expected `(num, times, height,"
            " width, channels)` or `(times, height, width, channels)`."
        )
    times = trajectory.shape[1]
    shown = np.unique(np.linspace(0, times - 1, frames).round().astype(int))
    tiles = trajectory[:, shown].reshape(-1, *trajectory.shape[2:])
    return image_grid(tiles, columns=len(shown), scale=scale, pad=pad)


def to_bytes(
    images: Shaped[AnyArray, "num ..."],
) -> UInt8[np.ndarray, "num height width channels"]:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in (1, 3) or 0 in images.shape:
        hint = ""
        if images.ndim == 3 and images.shape[-1] in (1, 3):
            hint = " For a single image, pass `image[None]`."
        elif images.ndim == 3:
            hint = " For grey images without a channel axis, pass `images[..., None]`."
        raise ValueError(
            f"`images` has shape {images.shape}; expected `(num, height, width,"
            f" channels)` with 1 or 3 channels.{hint}"
        )
    if images.dtype == np.uint8:
        return images
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"`images` has dtype {images.dtype}; expected floats in [0, 1] or uint8."
        )
    finite = np.isfinite(images)
    levels = np.clip(np.where(finite, images, 0), 0, 1).astype(np.float32)
    pixels = np.round(levels * 255).astype(np.uint8)
    if not finite.all():
        broken = ~finite.all(axis=-1, keepdims=True)
        pixels = np.where(broken, np.array(_NOT_FINITE, np.uint8), pixels)
    return pixels


def check_int(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{name}` is {value!r}; expected an integer >= {least}.")

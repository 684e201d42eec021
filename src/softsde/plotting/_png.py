"""Grids as files."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Shaped, UInt8

from .._files import PathLike, atomically
from ._grid import AnyArray, image_grid
from ._text import pillow_module, with_title


def save_png(
    path: PathLike,
    array: UInt8[AnyArray, "height width ..."],
    *,
    title: str | None = None,
) -> pathlib.Path:
    """Write one `uint8` image as a PNG file, atomically.

    **Arguments:**

    - `path`: its folder is made if need be.
    - `array`: `(height, width)` or `(height, width, channels)` with 1 or 3 channels.
    - `title`: a line of text above the image, also stored as the file's `Title`.

    **Returns:**

    The path written.

    **Raises:** `ImportError` without pillow.
    """
    array = np.asarray(array)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[-1] not in (1, 3) or 0 in array.shape:
        raise ValueError(
            f"`array` has shape {array.shape}; expected one image `(height, width)` or"
            " `(height, width, channels)` with 1 or 3 channels. For a batch, use"
            " `save_grid`."
        )
    pillow = pillow_module()
    info = pillow.PngImagePlugin.PngInfo()
    if title is not None:
        array = with_title(array, title)
        info.add_itxt("Title", title)
    image = pillow.Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    with atomically(path) as file:
        image.save(file, format="PNG", pnginfo=info)
    return pathlib.Path(path)


def save_grid(
    path: PathLike,
    images: Shaped[AnyArray, "num ..."],
    *,
    columns: int = 8,
    scale: int = 1,
    pad: int = 1,
    labels: Sequence[str] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """`image_grid` written as a PNG file, atomically; see there and `save_png`.

    ```python
    ss.plotting.save_grid("samples.png", samples, title="8 samples, uncurated")
    ```
    """
    grid = image_grid(images, columns=columns, scale=scale, pad=pad, labels=labels)
    return save_png(path, grid, title=title)

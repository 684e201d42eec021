"""Words in pictures, drawn with pillow.

It is imported when it is used.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import UInt8

# Between images, and around them.
PAPER = 255


def with_labels(
    tiles: UInt8[np.ndarray, "num height width channels"], labels: Sequence[str]
) -> UInt8[np.ndarray, "num taller width channels"]:
    width = tiles.shape[2]
    strips = [_widen(text_image(label)[:, :width], width) for label in labels]
    strip = np.stack(strips)[..., None].repeat(tiles.shape[-1], axis=-1)
    return np.concatenate([tiles, strip], axis=1)


def with_title(
    array: UInt8[np.ndarray, "height width channels"], title: str
) -> UInt8[np.ndarray, "taller wider channels"]:
    # A grid may be narrower than its title, which must not be cut: break the line where
    # that helps, and widen the picture where it does not.
    lines: list[str] = []
    for word in title.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_image(longer).shape[1] <= array.shape[1]:
            lines[-1] = longer
        else:
            lines.append(word)
    parts = [text_image(line)[..., None] for line in lines]
    parts = [part.repeat(array.shape[-1], axis=-1) for part in parts] + [array]
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widen(part, width) for part in parts])


def _widen(array: UInt8[np.ndarray, "height *_"], width: int) -> np.ndarray:
    pads = [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, pads, constant_values=PAPER)


def text_image(text: str) -> UInt8[np.ndarray, "height width"]:
    """A line of black text on white, as wide as it needs."""
    pillow = pillow_module()
    font = pillow.ImageFont.load_default(size=12)
    size = (math.ceil(font.getlength(text)) + 2, 16)
    canvas = pillow.Image.new("L", size, PAPER)
    pillow.ImageDraw.Draw(canvas).text((1, 0), text, fill=0, font=font)
    return np.array(canvas)


def pillow_module():
    try:
        import PIL
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
        import PIL.PngImagePlugin
    except ImportError as error:
        raise ImportError(
            "Writing pictures needs pillow: pip install 'softsde[experiments]'"
        ) from error
    return PIL

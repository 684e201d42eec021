"""A folder of pictures of any size, as squares of one size."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from ._source import UNLABELLED, AbstractSource, freeze

_SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)
_MODES = {1: "L", 3: "RGB"}
_LISTED = 5


class ImageFolderSource(AbstractSource):
    """Every picture under a folder, centre-cropped to a square and resized.

    Pictures are read when they are asked for, so the folder may be larger than memory;
    one that fits is faster as `ArraySource(to_array(source), source.labels)`.

    The class of a picture is the subfolder of `folder` that it lies in, however deep;
    classes are numbered in the order of their names. Pictures that lie in `folder`
    itself have no class. The order is that of the paths, the same on every machine.
    Names that start with a dot are passed over.

    Pictures are turned as their EXIF data say, transparent ones laid on white, 16-bit
    grey ones scaled to 8 bits, and resized with a bicubic filter that is widened when
    it shrinks them, so that nothing aliases.

    !!! example
        ```{ .python .no-run }
        source = ss.data.ImageFolderSource("pictures", size=64)
        source[0]["image"].shape  # (64, 64, 3)
        ```
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        size: int,
        *,
        channels: int = 3,
        crop: int | None = None,
        check: bool = True,
    ):
        """**Arguments:**

        - `folder`: the folder, searched recursively; links are followed.
        - `size`: height and width of every image, in pixels.
        - `channels`: 3 for colour, 1 for grey.
        - `crop`: side of the square that is cut out of the middle before resizing; by
          default the shorter side of each picture. CelebA's aligned faces are usually
          cut to 140 (Song et al.) or 148 pixels.
        - `check`: whether to open every file once now (its header only), so that one
          that is not a picture is found before a long run rather than in it.

        **Raises:** NotADirectoryError where there is no such folder; ValueError where
        it holds no pictures, or files that are not pictures, naming them; ImportError
        without pillow.
        """
        import_pillow()
        folder = Path(folder).expanduser()
        if size < 1:
            raise ValueError(f"`size` must be at least 1 pixel, got {size}.")
        if crop is not None and crop < 1:
            raise ValueError(f"`crop` must be at least 1 pixel, got {crop}.")
        if channels not in _MODES:
            raise ValueError(f"`channels` must be 1 or 3, got {channels}.")
        if not folder.is_dir():
            raise NotADirectoryError(f"{folder} is not a folder.")
        relative = find_pictures(folder)
        if not relative:
            raise ValueError(
                f"{folder} holds no pictures: no file under it ends in "
                f"{', '.join(sorted(_SUFFIXES))}."
            )
        names = sorted({path.parts[0] for path in relative if len(path.parts) > 1})
        number = {name: i for i, name in enumerate(names)}
        labels = [
            number[path.parts[0]] if len(path.parts) > 1 else UNLABELLED
            for path in relative
        ]
        self.paths = tuple(folder / path for path in relative)
        self.labels = freeze(np.array(labels, np.int32))
        self.class_names = tuple(names) if names else None
        self._size = size
        self._channels = channels
        self._crop = crop
        if check:
            _check_headers(self.paths)

    @property
    def shape(self) -> tuple[int, int, int]:
        return self._size, self._size, self._channels

    def __len__(self) -> int:
        return len(self.paths)

    def item(self, index: int) -> dict[str, Any]:
        """Image and label at `index`.

        **Raises:** ValueError naming the file where it is damaged.
        """
        path = self.paths[index]
        try:
            image = _read_square(path, self._size, _MODES[self._channels], self._crop)
        except Exception as error:
            # Which exception a damaged file makes pillow raise depends on the format
            # and on the byte.
            raise ValueError(
                f"{path} cannot be read as a picture: {error}. Mend or remove it."
            ) from error
        image = image.reshape(self.shape)
        return {"image": image, "label": int(self.labels[index])}


def import_pillow():
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pictures are read with pillow: pip install 'softsde[experiments]'"
        ) from error
    return Image


def find_pictures(folder: Path) -> list[Path]:
    """Paths relative to `folder`, in the order of their parts."""
    found, seen = [], set()
    for current, below, files in os.walk(folder, followlinks=True):
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(current)
        if real in seen:
            below.clear()
            continue
        seen.add(real)
        below[:] = sorted(name for name in below if not name.startswith("."))
        found += [
            Path(current, name).relative_to(folder)
            for name in files
            if Path(name).suffix.lower() in _SUFFIXES and not name.startswith(".")
        ]
    return sorted(found, key=lambda path: path.parts)


def _check_headers(paths: tuple[Path, ...]) -> None:
    image_module = import_pillow()
    bad = []
    for path in paths:
        try:
            with image_module.open(path):
                pass
        except Exception as error:
            bad.append(f"  {path} ({type(error).__name__})")
    if bad:
        more = f"\n  and {len(bad) - _LISTED} more" if len(bad) > _LISTED else ""
        raise ValueError(
            f"{len(bad)} of {len(paths)} files cannot be read as pictures:\n"
            + "\n".join(bad[:_LISTED])
            + f"{more}\nMend or remove them."
        )


def _read_square(path: Path, size: int, mode: str, crop: int | None) -> np.ndarray:
    image_module = import_pillow()
    from PIL import ImageOps

    with image_module.open(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode.startswith(("I", "F")):
            image = image_module.fromarray(_to_8_bits(np.asarray(image)))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = image_module.new("RGBA", image.size, "white")
            image = image_module.alpha_composite(white, image)
        image = image.convert(mode)
        width, height = image.size
        side = min(width, height) if crop is None else crop
        if side > min(width, height):
            raise ValueError(
                f"it has {width}x{height} pixels, too few for `crop={crop}`"
            )
        left, top = (width - side) // 2, (height - side) // 2
        square = image.resize(
            (size, size),
            image_module.Resampling.BICUBIC,
            box=(left, top, left + side, top + side),
        )
        return np.asarray(square)


def _to_8_bits(values: np.ndarray) -> np.ndarray:
    # pillow would clip these at 255, which turns a 16-bit picture white.
    if np.issubdtype(values.dtype, np.floating):
        raise ValueError("floating-point pixels have no known white; save it as 8-bit")
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("pixels exceed 16 bits; save it as 8-bit")
    return np.round(values.astype(np.float64) / 257).astype(np.uint8)

"""Draws the pictures of the corruptions page: each family on one photograph.

    python docs/figures/corruptions.py

The photograph comes with scikit-learn, so nothing is downloaded. Each picture shows one
family at eight levels. Writes `docs/_static/corruptions/*.png`.
"""

import argparse
import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
from jax import Array
from sklearn.datasets import load_sample_image

import softsde as ss

HERE = pathlib.Path(__file__).parent
SHAPE = (64, 64, 3)
TIMES = np.linspace(0.0, 1.0, 8)
# Each pixel becomes a square of 4 x 4, so that eight images fill a dense screen.
SCALE = 4
# The height of the line of levels.
LABEL = 48


def photograph() -> Array:
    """The pavilion of scikit-learn's two sample images, as 64 x 64 pixels in [0, 1]."""
    picture = PIL.Image.fromarray(load_sample_image("china.jpg"))
    square = picture.crop((10, 15, 410, 415))
    small = square.resize(SHAPE[:2], PIL.Image.Resampling.LANCZOS)
    return jnp.asarray(np.asarray(small), jnp.float32) / 255


class Strip(NamedTuple):
    name: str
    corruption: ss.corruptions.AbstractCorruption
    levels: ss.schedules.AbstractSchedule
    digits: int = 2


def sway(theta: Array, x: Array) -> Array:
    """Shifts each row sideways, lower rows further: linear in `x`, not diagonal."""
    shift = theta * jnp.linspace(0.0, 1.0, x.shape[0])
    column = (jnp.arange(x.shape[1])[None] - shift[:, None]) % x.shape[1]
    left = jnp.floor(column).astype(int)
    part = (column - left)[..., None]
    row = jnp.arange(x.shape[0])[:, None]
    return (1 - part) * x[row, left % x.shape[1]] + part * x[
        row, (left + 1) % x.shape[1]
    ]


def butterworth(theta: Array, squared: Array) -> Array:
    return 1 / (1 + (theta**2 * squared) ** 2)


def strips() -> list[Strip]:
    c, s = ss.corruptions, ss.schedules
    share = s.Linear(0.0, 1.0)
    # From the clean image, then evenly in the logarithm, so that the steps look equal.
    blur = s.PiecewiseLinear(TIMES, [0.0, *np.geomspace(0.6, 18.0, 7)])
    line = s.PiecewiseLinear(TIMES, [0.0, *np.geomspace(2.0, 32.0, 7)])
    return [
        Strip("gaussian_blur", c.GaussianBlur(SHAPE), blur, 1),
        Strip(
            "gaussian_blur_symmetric",
            c.GaussianBlur(SHAPE, padding="symmetric"),
            blur,
            1,
        ),
        Strip("heat_blur", c.HeatBlur(SHAPE), blur, 1),
        Strip("motion_blur", c.MotionBlur(SHAPE, angle=30.0), line, 1),
        Strip("spectral_filter", c.SpectralFilter(SHAPE, butterworth), blur, 1),
        Strip("center_mask", c.CenterMask(SHAPE), share),
        Strip("center_mask_border", c.CenterMask(SHAPE, grow="border"), share),
        Strip("soft_mask", c.SoftMask(SHAPE, width=0.3), share),
        Strip("random_mask", c.RandomMask(SHAPE, key=jax.random.key(0)), share),
        Strip("downsample", c.Downsample(SHAPE), s.Geometric(1.0, 64.0), 1),
        Strip("desaturate", c.Desaturate("luma"), share),
        Strip("fade", c.Fade(), share),
        Strip("scale", c.Scale(), s.Linear(1.0, 0.0)),
        Strip("function", c.FunctionCorruption(sway, SHAPE), s.Linear(0.0, 32.0), 0),
        Strip(
            "compose",
            c.Compose(
                c.HeatBlur(SHAPE),
                c.Relevel(c.Desaturate("luma"), lambda theta: theta / 18),
            ),
            blur,
            1,
        ),
        Strip(
            "mix",
            c.Mix(c.Identity(), c.HeatBlur(SHAPE), weights=[0.4, 0.6]),
            blur,
            1,
        ),
    ]


def draw(strip: Strip, image: Array) -> PIL.Image.Image:
    """Eight levels side by side, the level below each, in a palette of 256 colours."""
    levels = jnp.stack([strip.levels(t) for t in jnp.asarray(TIMES)])
    images = jax.jit(jax.vmap(strip.corruption.apply, in_axes=(0, None)))(levels, image)
    grid = ss.plotting.image_grid(images, columns=len(TIMES), scale=SCALE, pad=SCALE)
    height, width, channels = grid.shape
    text = np.full((LABEL, width, channels), 255, np.uint8)
    picture = PIL.Image.fromarray(np.concatenate([grid, text]))
    draw_on = PIL.ImageDraw.Draw(picture)
    font = PIL.ImageFont.load_default(size=0.75 * LABEL)
    for i, level in enumerate(np.asarray(levels)):
        middle = SCALE + (i + 0.5) * (width - SCALE) / len(TIMES)
        label = f"{level:.{strip.digits}f}"
        draw_on.text((middle, height), label, fill=(0, 0, 0), font=font, anchor="ma")
    return picture.quantize(256, dither=PIL.Image.Dither.NONE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="strips whose name holds this")
    parser.add_argument(
        "--folder", type=pathlib.Path, default=HERE.parent / "_static" / "corruptions"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    image = photograph()
    for strip in strips():
        if options.only in strip.name:
            path = options.folder / f"{strip.name}.png"
            draw(strip, image).save(path, optimize=True)
            print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

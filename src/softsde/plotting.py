"""Pictures: grids of images, strips of trajectories, curves of a run.

Grids are `uint8` arrays first and files second, so that they can be tested, sent to a
logger or put into a notebook. Only `plot_metrics` needs matplotlib, and files and text
need pillow; both are imported when they are used. Every file appears whole or not at
all.
"""

import contextlib
import json
import math
import numbers
import os
import pathlib
import uuid
from collections.abc import Iterator, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

__all__ = [
    "image_grid",
    "plot_metrics",
    "plot_neighbours",
    "save_grid",
    "save_png",
    "trajectory_strip",
]

_AnyArray = Array | np.ndarray
_Path = str | os.PathLike[str]

# Between images, and around them.
_PAPER = 255
# A pixel that is not a number must not pass for a black one.
_NOT_FINITE = (255, 0, 255)


def image_grid(
    images: Shaped[_AnyArray, "num ..."],
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
    _check_int("columns", columns, 1)
    _check_int("scale", scale, 1)
    _check_int("pad", pad, 0)
    tiles = _to_bytes(images)
    tiles = tiles.repeat(scale, axis=1).repeat(scale, axis=2)
    if labels is not None:
        if len(labels) != len(tiles):
            raise ValueError(
                f"`labels` has {len(labels)} entries for {len(tiles)} images; expected"
                " one each ('' for none)."
            )
        tiles = _with_labels(tiles, labels)
    num, height, width, channels = tiles.shape
    columns = min(columns, num)
    rows = math.ceil(num / columns)
    step_y, step_x = height + pad, width + pad
    grid = np.full((rows * step_y + pad, columns * step_x + pad, channels), _PAPER)
    grid = grid.astype(np.uint8)
    for index, tile in enumerate(tiles):
        y, x = pad + index // columns * step_y, pad + index % columns * step_x
        grid[y : y + height, x : x + width] = tile
    return grid


def trajectory_strip(
    trajectory: Shaped[_AnyArray, "..."],
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
    drawn = ss.sample(
        process, denoiser, x1=xs, num_steps=8, save_trajectory=True, key=key
    )
    ss.plotting.save_png("way.png", ss.plotting.trajectory_strip(drawn.trajectory))
    ```
    """
    _check_int("frames", frames, 2)
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


def save_png(
    path: _Path,
    array: UInt8[_AnyArray, "height width ..."],
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
    pillow = _pillow()
    info = pillow.PngImagePlugin.PngInfo()
    if title is not None:
        array = _with_title(array, title)
        info.add_itxt("Title", title)
    image = pillow.Image.fromarray(array[..., 0] if array.shape[-1] == 1 else array)
    with _atomic(path) as file:
        image.save(file, format="PNG", pnginfo=info)
    return pathlib.Path(path)


def save_grid(
    path: _Path,
    images: Shaped[_AnyArray, "num ..."],
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


def plot_neighbours(
    samples: Shaped[_AnyArray, "num ..."],
    neighbours: Shaped[_AnyArray, "num_neighbours ..."],
    path: _Path,
    *,
    distances: Float[_AnyArray, "num_distances k"] | None = None,
    space: str = "pixels",
    scale: int = 2,
    title: str | None = None,
) -> pathlib.Path:
    """Each sample at the left of its row, its nearest training images to the right.

    **Arguments:**

    - `samples`: `(num, height, width, channels)`.
    - `neighbours`: `(num, k, height, width, channels)`, or without the `k` axis for one
        neighbour each.
    - `path`: of the PNG file.
    - `distances`: written under the neighbours, `(num, k)`.
    - `space`: in which the neighbours are nearest; said in the title.
    - `scale`: as for `image_grid`.
    - `title`: instead of the one that says all this.

    **Returns:**

    The path written.

    ```python
    indices, distances = ss.metrics.nearest_neighbours(samples, train_images, k=5)
    neighbours = train_images[indices]
    ss.plotting.plot_neighbours(samples, neighbours, "nn.png", distances=distances)
    ```
    """
    samples, neighbours = np.asarray(samples), np.asarray(neighbours)
    if neighbours.ndim == samples.ndim:
        neighbours = neighbours[:, None]
    num, k = neighbours.shape[:2]
    if samples.shape != (num, *neighbours.shape[2:]):
        raise ValueError(
            f"`samples` has shape {samples.shape} and `neighbours` {neighbours.shape};"
            " expected `(num, height, width, channels)` and `(num, k, height, width,"
            " channels)`. With indices from `nearest_neighbours`, pass `data[indices]`."
        )
    rows = np.concatenate([samples[:, None], neighbours], axis=1)
    labels = None
    if distances is not None:
        distances = np.asarray(distances)
        if distances.shape != (num, k):
            raise ValueError(
                f"`distances` has shape {distances.shape}, but there are {num} samples"
                f" with {k} neighbours each."
            )
        labels = [
            text for row in distances for text in ("sample", *(f"{d:.3g}" for d in row))
        ]
    if title is None:
        title = f"samples (left), nearest training images (L2, {space})"
    return save_grid(
        path,
        rows.reshape(-1, *samples.shape[1:]),
        columns=k + 1,
        scale=scale,
        pad=2,
        labels=labels,
        title=title,
    )


def plot_metrics(
    jsonl_path: _Path,
    png_path: _Path,
    *,
    x: str = "step",
    keys: Sequence[str] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """Curves of a run's metrics, a panel each, from its JSON lines file.

    Each line is an object with the step and any numbers; a metric need not be in every
    line. A half-written last line, as a killed run leaves it, is passed over; where a
    resumed run wrote a step again, the later line counts. Positive metrics that span
    more than a decade get a logarithmic axis; long curves are drawn faint, with their
    running median over them.

    **Arguments:**

    - `jsonl_path`: the metrics file.
    - `png_path`: the picture.
    - `x`: the entry on the horizontal axis.
    - `keys`: which metrics, and in which order; all numbers by default.
    - `title`: of the figure; the run folder's name by default.

    **Returns:**

    The path written.

    **Raises:** `ValueError` if there is nothing to draw; `ImportError` without
    matplotlib.
    """
    curves = _read_curves(pathlib.Path(jsonl_path), x)
    if keys is None:
        keys = list(curves)
    unknown = [key for key in keys if key not in curves]
    if unknown or not keys:
        raise ValueError(
            f"{jsonl_path} has the metrics {sorted(curves)} along {x!r}"
            + (f", but not {unknown}." if unknown else ": nothing to draw.")
        )
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "`plot_metrics` needs matplotlib: pip install 'softsde[experiments]'"
        ) from error

    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    # A figure with its own canvas leaves the user's pyplot and backend alone.
    figure = Figure(figsize=(4.5 * columns, 3 * rows), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, key in enumerate(keys):
        axes = figure.add_subplot(rows, columns, index + 1)
        steps, values = curves[key]
        window = len(values) // 50
        many = window >= 2
        axes.plot(steps, values, lw=1, alpha=0.3 if many else 1, color="C0")
        if many:
            axes.plot(steps, _running_median(values, window), lw=1.5, color="C0")
        finite = values[np.isfinite(values)]
        if len(finite) and 0 < 10 * finite.min() < finite.max():
            axes.set_yscale("log")
        axes.set_title(key)
        axes.set_xlabel(x)
        axes.grid(alpha=0.3)
    if title is None:
        title = f"metrics of {pathlib.Path(jsonl_path).resolve().parent.name}"
    figure.suptitle(title)
    with _atomic(png_path) as file:
        canvas.print_png(file)
    return pathlib.Path(png_path)


def _read_curves(
    path: pathlib.Path, x: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each metric its steps, increasing, and its values."""
    curves: dict[str, dict[float, float]] = {}
    lines = path.read_text().splitlines()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(
                f"{path}, line {number} is not JSON ({error}): {line[:80]!r}"
            ) from error
        if not isinstance(record, Mapping) or x not in record:
            continue
        for name, value in record.items():
            # Booleans are numbers to Python, but no curves.
            if (
                name != x
                and isinstance(value, numbers.Real)
                and not isinstance(value, bool)
            ):
                curves.setdefault(name, {})[record[x]] = float(value)
    return {
        name: (np.array(sorted(points)), np.array([points[s] for s in sorted(points)]))
        for name, points in curves.items()
    }


def _running_median(values: np.ndarray, window: int) -> np.ndarray:
    padded = np.pad(values, (window // 2, (window - 1) // 2), mode="edge")
    return np.median(np.lib.stride_tricks.sliding_window_view(padded, window), axis=1)


def _to_bytes(
    images: Shaped[_AnyArray, "num ..."],
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


def _with_labels(
    tiles: UInt8[np.ndarray, "num height width channels"], labels: Sequence[str]
) -> UInt8[np.ndarray, "num taller width channels"]:
    width = tiles.shape[2]
    strips = [_widen(_text(label)[:, :width], width) for label in labels]
    strip = np.stack(strips)[..., None].repeat(tiles.shape[-1], axis=-1)
    return np.concatenate([tiles, strip], axis=1)


def _with_title(
    array: UInt8[np.ndarray, "height width channels"], title: str
) -> UInt8[np.ndarray, "taller wider channels"]:
    # A grid may be narrower than its title, which must not be cut: break the line where
    # that helps, and widen the picture where it does not.
    lines: list[str] = []
    for word in title.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _text(longer).shape[1] <= array.shape[1]:
            lines[-1] = longer
        else:
            lines.append(word)
    parts = [_text(line)[..., None] for line in lines]
    parts = [part.repeat(array.shape[-1], axis=-1) for part in parts] + [array]
    width = max(part.shape[1] for part in parts)
    return np.concatenate([_widen(part, width) for part in parts])


def _widen(array: UInt8[np.ndarray, "height *_"], width: int) -> np.ndarray:
    pads = [(0, 0), (0, width - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
    return np.pad(array, pads, constant_values=_PAPER)


def _text(text: str) -> UInt8[np.ndarray, "height width"]:
    """A line of black text on white, as wide as it needs."""
    pillow = _pillow()
    font = pillow.ImageFont.load_default(size=12)
    size = (math.ceil(font.getlength(text)) + 2, 16)
    canvas = pillow.Image.new("L", size, _PAPER)
    pillow.ImageDraw.Draw(canvas).text((1, 0), text, fill=0, font=font)
    return np.array(canvas)


def _pillow():
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


def _check_int(name: str, value: int, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"`{name}` is {value!r}; expected an integer >= {least}.")


@contextlib.contextmanager
def _atomic(path: _Path) -> Iterator:
    """A binary file that takes the place of `path` once it is written whole."""
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder, since a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with open(temporary, "xb") as file:
            yield file
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)

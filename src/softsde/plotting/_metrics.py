"""The curves of a run, from its JSON lines file."""

import json
import math
import numbers
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from .._files import PathLike
from ._figure import new_figure, save_figure


def plot_metrics(
    jsonl_path: PathLike,
    png_path: PathLike,
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
    columns = min(3, len(keys))
    rows = math.ceil(len(keys) / columns)
    figure = new_figure(4.5 * columns, 3.0 * rows, owner="plot_metrics")
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
    return save_figure(figure, png_path)


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

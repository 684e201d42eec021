"""Numbers that were measured several times, over one axis."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from .._files import PathLike
from ._figure import new_figure, save_figure


def plot_spread(
    x: Float[np.ndarray, " points"] | Int[np.ndarray, " points"],
    panels: Mapping[str, Sequence[Sequence[float]]],
    path: PathLike,
    *,
    x_label: str,
    lines: Mapping[str, float] | None = None,
    line_label: str = "reference",
    title: str | None = None,
) -> pathlib.Path:
    """Panels side by side: means of repeated measurements with 95 % error bars.

    The error bar of a mean is Student's quantile of its standard error.

    **Arguments:**

    - `x`: the points.
    - `panels`: from the name of a vertical axis to the measurements at each point, at
        least 2 of each.
    - `path`: of the PNG file.
    - `x_label`, `title`: what is said of them.
    - `lines`: from the name of an axis to a horizontal reference line.
    - `line_label`: what the lines are.

    **Returns:** the path written.

    **Raises:** `ValueError` without panels, for another number of points, or for a
    point with a single measurement; `ImportError` without matplotlib.

    ```python
    steps = np.array([10, 20])
    distances = [[5.1, 5.3, 4.9], [3.2, 3.1, 3.3]]
    ss.plotting.plot_spread(steps, {"distance": distances}, "a.png", x_label="steps")
    ```
    """
    from scipy.special import stdtrit

    if not panels:
        raise ValueError("`plot_spread` got no panels: nothing to draw.")
    for name, found in panels.items():
        if len(found) != len(x) or min(len(row) for row in found) < 2:
            raise ValueError(
                f"`plot_spread` got {[len(row) for row in found]} measurements of"
                f" {name!r} for {len(x)} points; expected at least 2 for each point."
            )
    figure = new_figure(4.0 * len(panels) + 1.0, 3.5, owner="plot_spread")
    every = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (name, found) in zip(every, panels.items(), strict=True):
        nums = np.array([len(row) for row in found])
        means = np.array([np.mean(row) for row in found])
        errors = np.array([np.std(row, ddof=1) for row in found]) / np.sqrt(nums)
        axes.errorbar(
            x,
            means,
            yerr=stdtrit(nums - 1, 0.975) * errors,
            marker="o",
            capsize=3,
            label="samples",
        )
        if lines is not None and name in lines:
            axes.axhline(lines[name], color="black", linestyle="--", label=line_label)
        axes.set_xscale("log")
        axes.set_xticks(x, [f"{value:g}" for value in x])
        axes.minorticks_off()
        axes.set(xlabel=x_label, ylabel=name)
        axes.grid(alpha=0.3)
    every[0].legend()
    if title is not None:
        figure.suptitle(title)
    return save_figure(figure, path)

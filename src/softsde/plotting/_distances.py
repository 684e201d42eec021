"""A picture of the distances between candidate levels, and of the path through them."""

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from .._files import PathLike
from ._figure import new_figure, save_figure
from ._grid import AnyArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CHOSEN = "tab:red"


def distances_figure(
    distances: Float[AnyArray, "candidates candidates"],
    levels: Float[AnyArray, " candidates"],
    path: Sequence[int],
    *,
    times: Float[AnyArray, " points"] | None = None,
    title: str | None = None,
) -> "Figure":
    """Draws the matrix of distances with the path on it, and the level over time.

    The path is a stair along the diagonal. Each step goes along the row of one chosen
    level to the column of the next; the dot at its corner lies on their distance. If
    the steps are even, all dots lie on the same colour.

    **Arguments:**

    - `distances`: between all pairs of candidates; unknown ones may be NaN.
    - `levels`: the candidates.
    - `path`: indices of the chosen levels, in increasing order.
    - `times`: the times at which the chosen levels are reached; with them a second
        panel shows the level over time.
    - `title`: above the first panel.

    **Returns:** a matplotlib figure, independent of pyplot.

    **Raises:** `ValueError` for distances or times that do not match the levels, or an
    invalid path; `ImportError` without matplotlib.

    ```python
    levels = np.geomspace(0.1, 9.0, 32)
    found = ss.fitting.transport_schedule(
        ss.corruptions.GaussianBlur((28, 28, 1)), levels, images, num_points=8
    )
    figure = ss.plotting.distances_figure(found.distances, levels, found.path)
    figure.savefig("distances.png")
    ```
    """
    distances, levels = np.asarray(distances), np.asarray(levels)
    _check(distances, levels, path, times)
    chosen = np.asarray(path, int)
    panels = 1 if times is None else 2
    figure = new_figure(5.2 * panels, 4.4, owner="distances_figure")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_matrix(axes[0], distances, levels, chosen)
    if title is not None:
        axes[0].set_title(title, fontsize=10)
    if times is not None:
        # The level waits at its first value until the first time.
        moments = np.concatenate([[0.0], np.asarray(times)])
        axes[1].plot(moments, levels[chosen[[0, *range(chosen.size)]]], "-")
        axes[1].plot(times, levels[chosen], ".", color=_CHOSEN, ms=5)
        axes[1].set(xlabel="time", ylabel="level", xlim=(0, 1))
        axes[1].grid(alpha=0.3)
    return figure


def plot_distances(
    distances: Float[AnyArray, "candidates candidates"],
    levels: Float[AnyArray, " candidates"],
    path: Sequence[int],
    file: PathLike,
    *,
    times: Float[AnyArray, " points"] | None = None,
    title: str | None = None,
) -> pathlib.Path:
    """Writes the picture of [`softsde.plotting.distances_figure`][] to a PNG file.

    **Arguments:**

    - `file`: of the PNG file.
    - `distances`, `levels`, `path`, `times`, `title`: as in
        [`softsde.plotting.distances_figure`][].

    **Returns:** the path written.

    ```python
    levels = np.geomspace(0.1, 9.0, 32)
    found = ss.fitting.transport_schedule(
        ss.corruptions.GaussianBlur((28, 28, 1)), levels, images, num_points=8
    )
    ss.plotting.plot_distances(found.distances, levels, found.path, "distances.png")
    ```
    """
    figure = distances_figure(distances, levels, path, times=times, title=title)
    return save_figure(figure, file)


def _check(distances, levels, path, times) -> None:
    if distances.shape != (levels.size, levels.size):
        raise ValueError(
            f"`distances_figure` got distances of shape {distances.shape} for "
            f"{levels.size} levels; expected {(levels.size, levels.size)}."
        )
    chosen = np.asarray(path, int)
    outside = chosen.size and (chosen.min() < 0 or chosen.max() >= levels.size)
    if chosen.size < 2 or outside or np.any(np.diff(chosen) <= 0):
        raise ValueError(
            f"`distances_figure` got the path {tuple(path)}; expected at least two "
            f"increasing indices below {levels.size}."
        )
    if times is not None and np.shape(times) != chosen.shape:
        raise ValueError(
            f"`distances_figure` got times of shape {np.shape(times)} for a path of "
            f"{chosen.size} levels; expected one time for each level."
        )


def _draw_matrix(
    axes: "Axes", distances: np.ndarray, levels: np.ndarray, chosen: np.ndarray
) -> None:
    image = axes.imshow(distances, origin="upper", cmap="viridis")
    axes.figure.colorbar(image, ax=axes, label="distance")
    # From a level along its row to the next level's column, then down to that row.
    across = np.repeat(chosen, 2)[1:]
    down = np.repeat(chosen, 2)[:-1]
    axes.plot(across, down, color="white", lw=1)
    axes.plot(chosen[1:], chosen[:-1], ".", color=_CHOSEN, ms=4)
    ticks = np.unique(np.linspace(0, levels.size - 1, 6).round().astype(int))
    names = [f"{levels[i]:.2g}" for i in ticks]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlabel="to level", ylabel="from level")

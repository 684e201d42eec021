"""All distances between candidates, and the path that was chosen through them."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ._figure import new_figure, save_figure
from ._files import PathLike
from ._grid import AnyArray


def plot_distances(
    distances: Float[AnyArray, "candidates candidates"],
    levels: Float[AnyArray, " candidates"],
    path: Sequence[int],
    file: PathLike,
    *,
    title: str | None = None,
) -> pathlib.Path:
    """The matrix of distances as a picture, with the path from level to level on it.

    A stair along the diagonal: each step goes from one chosen level across to the next,
    and its corner lies on their distance. Even steps are corners of one shade.

    **Arguments:**

    - `distances`: between all pairs of candidates; those that are not known may be NaN.
    - `levels`: the candidates.
    - `path`: indices of the chosen ones, rising.
    - `file`: of the PNG file.
    - `title`: above the picture.

    **Returns:** the path written.

    **Raises:** `ValueError` for distances that are not one for each pair of levels, or
    a path that leaves them; `ImportError` without matplotlib.

    ```python
    levels = np.geomspace(0.1, 9.0, 32)
    found = ss.schedules.transport_schedule(
        ss.corruptions.GaussianBlur((28, 28, 1)), levels, images, num_points=8
    )
    ss.plotting.plot_distances(found.distances, levels, found.path, "distances.png")
    ```
    """
    distances, levels = np.asarray(distances), np.asarray(levels)
    if distances.shape != (levels.size, levels.size):
        raise ValueError(
            f"`plot_distances` got distances of shape {distances.shape} for "
            f"{levels.size} levels; expected {(levels.size, levels.size)}."
        )
    chosen = np.asarray(path, int)
    outside = chosen.size and (chosen.min() < 0 or chosen.max() >= levels.size)
    if chosen.size < 2 or outside or np.any(np.diff(chosen) <= 0):
        raise ValueError(
            f"`plot_distances` got the path {tuple(path)}; expected at least two "
            f"rising indices below {levels.size}."
        )
    figure = new_figure("plot_distances", 5.2, 4.4)
    axes = figure.add_subplot()
    image = axes.imshow(distances, origin="upper", cmap="viridis")
    figure.colorbar(image, ax=axes, label="distance")
    # From a level along its row to the next level's column, then down to that row.
    across = np.repeat(chosen, 2)[1:]
    down = np.repeat(chosen, 2)[:-1]
    axes.plot(across, down, color="white", lw=1)
    axes.plot(chosen[1:], chosen[:-1], ".", color="white", ms=4)
    ticks = np.unique(np.linspace(0, levels.size - 1, 6).round().astype(int))
    names = [f"{levels[i]:.2g}" for i in ticks]
    axes.set_xticks(ticks, names)
    axes.set_yticks(ticks, names)
    axes.set(xlabel="to level", ylabel="from level")
    if title is not None:
        axes.set_title(title)
    return save_figure(figure, file)

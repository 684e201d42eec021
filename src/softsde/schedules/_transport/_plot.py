"""The picture of a transport schedule."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from ._result import TransportSchedule


def plot_transport(result: "TransportSchedule") -> "Figure":
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "`TransportSchedule.plot` needs matplotlib: "
            "pip install 'softsde[experiments]'"
        ) from error
    figure = Figure(figsize=(9.0, 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)

    path = np.asarray(result.path)
    image = left.imshow(result.distances, origin="lower", cmap="viridis")
    # The path as stairs: along a row from the diagonal to the next level, and back.
    corners = np.stack([path[:-1], path[1:]])
    columns = np.append(np.stack([path[:-1], path[1:]], axis=1).ravel(), path[-1])
    rows = np.append(np.repeat(path[:-1], 2), path[-1])
    left.plot(columns, rows, color="white", linewidth=0.8)
    left.plot(corners[1], corners[0], ".", color="tab:red", markersize=4)
    left.set(xlabel="candidate", ylabel="candidate")
    left.set_title(f"distances ({result.kind})", fontsize=10)
    left.set_aspect("equal")
    figure.colorbar(image, ax=left, shrink=0.85, label="$W_2$")

    times = np.asarray(result.schedule.times)
    right.plot(
        np.r_[0.0, times], np.r_[result.levels[path[0]], result.levels[path]], "-"
    )
    right.plot(times, result.levels[path], ".", color="tab:red", markersize=5)
    right.set(xlabel="time", ylabel="level", xlim=(0, 1))
    right.set_title(
        f"{len(path)} points, epsilon {result.epsilon:.3g}, length {result.length:.3g}",
        fontsize=10,
    )
    right.grid(alpha=0.3)
    return figure

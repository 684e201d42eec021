"""Matplotlib figures that leave the user's pyplot and backend alone."""

import pathlib
from typing import Any

from .._files import PathLike, atomically


def new_figure(width: float, height: float, *, owner: str = "new_figure") -> Any:
    """A new `matplotlib.figure.Figure`, drawn without pyplot.

    **Arguments:**

    - `width`, `height`: in inches. An inch has 200 pixels.
    - `owner`: the function that an error names.

    **Raises:** `ImportError` without matplotlib.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            f"`{owner}` needs matplotlib: pip install 'softsde[experiments]'"
        ) from error
    # Dense enough for screens of density 2: a panel of 5 inches has 1,000 pixels.
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: PathLike) -> pathlib.Path:
    """Writes a figure of [`softsde.plotting.new_figure`][] as a PNG file, atomically.

    **Returns:** the path.
    """
    with atomically(path) as file:
        figure.canvas.print_png(file)
    return pathlib.Path(path)

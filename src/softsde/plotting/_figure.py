"""Matplotlib figures that leave the user's pyplot and backend alone."""

import pathlib

from .._files import PathLike, atomically


def new_figure(owner: str, width: float, height: float):
    """A figure of a size in inches, with a canvas of its own.

    **Raises:** `ImportError` without matplotlib, in the name of `owner`.
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


def save_figure(figure, path: PathLike) -> pathlib.Path:
    """Writes a figure as a PNG file, atomically."""
    with atomically(path) as file:
        figure.canvas.print_png(file)
    return pathlib.Path(path)

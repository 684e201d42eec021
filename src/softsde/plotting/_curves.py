"""Functions of one variable in one panel."""

import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from .._files import PathLike
from ._figure import new_figure, save_figure
from ._grid import AnyArray

# The legend of more curves than this would hide them: it goes below the panel.
_FEW = 5


def plot_curves(
    x: Float[AnyArray, " points"],
    curves: Mapping[str, Float[AnyArray, " points"]],
    path: PathLike,
    *,
    x_label: str = "time",
    y_label: str = "",
    logarithmic: bool = False,
    title: str | None = None,
) -> pathlib.Path:
    """Named curves over one axis, as a PNG file.

    **Arguments:**

    - `x`: the points.
    - `curves`: from the name of each to its values at the points.
    - `path`: of the PNG file.
    - `x_label`, `y_label`, `title`: what is said of them.
    - `logarithmic`: whether the vertical axis is.

    **Returns:** the path written.

    **Raises:** `ValueError` for no curve, or one of another length; `ImportError`
    without matplotlib.

    ```python
    times = np.linspace(0, 1, 50, dtype=np.float32)
    sigmas = np.array([process.sigma(s) for s in times])
    ss.plotting.plot_curves(times, {"noise": sigmas}, "noise.png", logarithmic=True)
    ```
    """
    if not curves:
        raise ValueError("`plot_curves` got no curves: nothing to draw.")
    for name, values in curves.items():
        if np.shape(values) != np.shape(x):
            raise ValueError(
                f"`plot_curves` got {name!r} of shape {np.shape(values)} over points "
                f"of shape {np.shape(x)}."
            )
    many = len(curves) > _FEW
    figure = new_figure(5.0, 4.5 if many else 3.5, owner="plot_curves")
    axes = figure.add_subplot()
    for name, values in curves.items():
        axes.plot(np.asarray(x), np.asarray(values), label=name)
    if logarithmic:
        axes.set_yscale("log")
    axes.set(xlabel=x_label, ylabel=y_label)
    if title is not None:
        axes.set_title(title)
    axes.grid(alpha=0.3)
    if many:
        figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    else:
        axes.legend()
    return save_figure(figure, path)

"""Pictures: grids of images, strips of trajectories, curves.

Grids are `uint8` arrays first and files second, so that they can be tested, sent to a
logger or put into a notebook. Curves need matplotlib, and files and text need pillow;
both are imported when they are used. Every file appears whole or not at all.
"""

from ._curves import plot_curves as plot_curves
from ._distances import (
    distances_figure as distances_figure,
    plot_distances as plot_distances,
)
from ._figure import new_figure as new_figure, save_figure as save_figure
from ._grid import image_grid as image_grid, trajectory_strip as trajectory_strip
from ._levels import plot_levels as plot_levels
from ._metrics import plot_metrics as plot_metrics
from ._neighbours import plot_neighbours as plot_neighbours
from ._png import save_grid as save_grid, save_png as save_png
from ._spread import plot_spread as plot_spread

"""What a schedule was chosen from, beside the schedule."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from .._piecewise_linear import PiecewiseLinear
from ._metric import AbstractTransportMetric, Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TransportSchedule(eqx.Module):
    """The schedule that `transport_schedule` chose, and what it was chosen from."""

    #: The level as a function of time.
    schedule: PiecewiseLinear
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: Distances between pairs of candidates, in the units of the data; NaN for a pair
    #: that no path can use, where the metric left those out.
    distances: Float[np.ndarray, "candidates candidates"]
    #: Indices of the chosen candidates.
    path: tuple[int, ...] = eqx.field(static=True)
    #: The longest step that was allowed: the given one, or the longest on the path.
    epsilon: float = eqx.field(static=True)
    #: What measured the distances.
    metric: AbstractTransportMetric
    #: What they are: `"exact"` for the data given, an `"upper bound"` on that, or an
    #: `"estimate"`.
    kind: Kind = eqx.field(static=True)

    @property
    def steps(self) -> Float[np.ndarray, " steps"]:
        """The distances along the path."""
        return self.distances[self.path[:-1], self.path[1:]]

    @property
    def length(self) -> float:
        """The length of the path: the sum of its steps."""
        return float(self.steps.sum())

    @property
    def exact(self) -> bool:
        """Whether the distances are exact for the data given."""
        return self.kind == "exact"

    def plot(self) -> "Figure":
        """The distances with the path on them, and the level over time.

        **Returns:** a matplotlib figure, apart from pyplot: `.savefig(path)` it.

        **Raises:** `ImportError` without matplotlib.
        """
        from ._plot import plot_transport

        return plot_transport(self)

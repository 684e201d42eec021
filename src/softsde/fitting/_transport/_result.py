"""A schedule by optimal transport, with the distances it was chosen from."""

from typing import TYPE_CHECKING

import equinox as eqx
import numpy as np
from jaxtyping import Float

from ...schedules import PiecewiseLinear
from ._metric import AbstractTransportMetric, Kind

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class TransportSchedule(eqx.Module):
    """The schedule that `transport_schedule` chose, and the distances behind it."""

    #: The level as a function of time.
    schedule: PiecewiseLinear
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: Distances between pairs of candidates, in the units of the data; NaN for pairs
    #: that the metric left out because no path can use them.
    distances: Float[np.ndarray, "candidates candidates"]
    #: Indices of the chosen candidates.
    path: tuple[int, ...] = eqx.field(static=True)
    #: The longest step allowed: the given `epsilon`, or the longest on the path.
    epsilon: float = eqx.field(static=True)
    #: The metric that measured the distances.
    metric: AbstractTransportMetric
    #: `"exact"` if the distances are exact for the given data, else `"upper bound"` or
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
        """Tells whether the distances are exact for the given data."""
        return self.kind == "exact"

    def plot(self) -> "Figure":
        """Draws the distances with the path on them, and the level over time.

        **Returns:** a matplotlib figure, independent of pyplot; save it with
        `.savefig(path)`.

        **Raises:** `ImportError` without matplotlib.
        """
        from ... import plotting

        title = f"{len(self.path)} points, epsilon {self.epsilon:.3g} ({self.kind})"
        return plotting.distances_figure(
            self.distances,
            self.levels,
            self.path,
            times=self.schedule.times,
            title=title,
        )

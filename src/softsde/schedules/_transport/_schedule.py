r"""Level schedules by optimal transport (the paper's Section 3.3 and Appendix C).

The paper asks for levels between which the distribution of corrupted data moves evenly,
as measured by the 2-Wasserstein distance: the shortest path through a graph of
candidates, whose edges are no longer than epsilon.
"""

from typing import Literal

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_samples
from ...corruptions import AbstractCorruption
from .._candidates import check_start
from .._piecewise_linear import PiecewiseLinear
from ._brenier import Brenier
from ._metric import AbstractTransportMetric
from ._path import path_within, shortest_path, smallest_epsilon
from ._result import TransportSchedule
from ._sinkhorn import Sinkhorn

_METRICS = {"brenier": Brenier, "sinkhorn": Sinkhorn}


def transport_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_points: int | None = 32,
    metric: Literal["brenier", "sinkhorn"] | AbstractTransportMetric = "brenier",
    epsilon: float | None = None,
    start: float = 0.0,
    data_range: tuple[float, float] | None = None,
    key: PRNGKeyArray | None = None,
) -> TransportSchedule:
    """Chooses levels between which the corrupted data moves by equal distances.

    The shortest path of `num_points` levels, first to last, whose longest step is as
    short as can be (the paper tunes epsilon by hand until that many are left), with
    linear interpolation in time between them. The choice does not change when the data
    is scaled.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption.
        The paper takes 256.
    - `data`: clean samples stacked in front; a few thousand are enough.
    - `num_points`: how many candidates the path holds, ends included. With `None`,
        as many as the shortest path at the given `epsilon` does.
    - `metric`: `"brenier"`, the closed form; `"sinkhorn"`, the paper's; or a
        [`softsde.schedules.Brenier`][] or [`softsde.schedules.Sinkhorn`][] of your own
        settings. The result says, in `kind`, what the distances are.
    - `epsilon`: the longest step allowed; by default the smallest that leaves a path.
    - `start`: the time at which the level begins to move (the paper's noise grows in
        the first 20 % of the time, while the level waits).
    - `data_range`: refuse data outside these two values, such as `(0, 1)` for images
        that somebody may have forgotten to scale.
    - `key`: for `"sinkhorn"`, which draws slices.

    **Returns:** a [`softsde.schedules.TransportSchedule`][].

    **Raises:** `ValueError` for unsorted or equal levels, or levels that the corruption
    does not have; fewer candidates or samples than points; data that is not finite or
    not in `data_range`; distances that are not numbers; and an `epsilon` that leaves no
    path, naming the smallest that does. `TypeError` for data that is not
    floating-point.
    """
    levels = np.asarray(levels, np.float64)
    _check_levels(corruption, levels)
    _check_path(num_points, epsilon, levels.size)
    check_start("transport_schedule", start)
    _check_data(data, num_points, data_range)
    if isinstance(metric, str):
        if metric not in _METRICS:
            raise ValueError(
                f"`transport_schedule` got `metric={metric!r}`; expected one of "
                f"{tuple(_METRICS)}, or an instance such as `Sinkhorn(fraction=0.2)`."
            )
        measure: AbstractTransportMetric = _METRICS[metric]()
    else:
        measure = metric

    found = measure.distances(
        corruption, levels, data, num_points=num_points, epsilon=epsilon, key=key
    )
    if np.isnan(found.matrix).any():
        raise ValueError(
            "`transport_schedule` got distances that are not numbers (NaN) from "
            f"`{type(measure).__name__}`. See whether `corruption.apply` is finite on "
            "the data at every level."
        )
    smallest = smallest_epsilon(found.matrix, num_points)
    if epsilon is None:
        epsilon = smallest
    elif epsilon < smallest:
        which = "no path" if num_points is None else f"no path of {num_points} points"
        raise ValueError(
            f"`transport_schedule` found {which} with steps up to `epsilon={epsilon}`; "
            f"the smallest epsilon that leaves one is {smallest!r}."
        )
    if num_points is None:
        path = shortest_path(found.matrix, epsilon)
    else:
        path = path_within(found.matrix, num_points, epsilon)
    schedule = PiecewiseLinear(np.linspace(start, 1.0, len(path)), levels[list(path)])
    known = np.where(np.isfinite(found.matrix), found.matrix, np.nan)
    return TransportSchedule(
        schedule, levels, known, path, float(epsilon), measure, found.kind
    )


def _check_levels(corruption, levels):
    steps = np.diff(levels) if levels.ndim == 1 else np.zeros(1)
    if levels.size < 2 or not (steps > 0).all():
        raise ValueError(
            "`transport_schedule` needs strictly increasing `levels`, two at least; "
            "sort them and remove repeats: `np.unique(levels)`."
        )
    corruption.check_level(levels)


def _check_path(num_points, epsilon, candidates):
    if num_points is None and epsilon is None:
        raise ValueError(
            "`transport_schedule` needs `num_points`, `epsilon` or both: with neither, "
            "nothing says how many levels to keep."
        )
    if num_points is not None and not 2 <= num_points <= candidates:
        raise ValueError(
            f"`transport_schedule` got `num_points={num_points}`; expected 2 to "
            f"{candidates}, the number of candidate levels."
        )
    if epsilon is not None and not 0 < epsilon < np.inf:
        raise ValueError(
            f"`transport_schedule` got `epsilon={epsilon}`; expected a distance > 0."
        )


def _check_data(data, num_points, data_range):
    if len(data) < 1:
        raise ValueError("`transport_schedule` got no data.")
    check_samples("transport_schedule", data)
    if num_points is not None and len(data) < num_points:
        raise ValueError(
            f"`transport_schedule` got {len(data)} samples for `num_points="
            f"{num_points}`; the distances between so many levels cannot be told from "
            "fewer samples. Give more data, or ask for fewer points."
        )
    # A block at a time: the data may be a file that is larger than the memory. Where
    # there is a NaN, the extremes are NaN too.
    low, high = np.inf, -np.inf
    for first in range(0, len(data), 1024):
        block = np.asarray(data[first : first + 1024])
        low = np.minimum(low, block.min())
        high = np.maximum(high, block.max())
    if not np.isfinite(low) or not np.isfinite(high):
        raise ValueError("`transport_schedule` got data that is not finite.")
    if data_range is not None and not (data_range[0] <= low and high <= data_range[1]):
        raise ValueError(
            f"`transport_schedule` got data from {low} to {high}, outside "
            f"`data_range={data_range}`. Bytes want `images / 255`."
        )

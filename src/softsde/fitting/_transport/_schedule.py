r"""Level schedules by optimal transport (the paper's Section 3.3 and Appendix C).

The paper chooses levels between which the law of the corrupted data moves by equal
2-Wasserstein distances: the shortest path through a graph of candidates, in which no
edge is longer than epsilon.
"""

from typing import Literal

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...corruptions import AbstractCorruption
from ...schedules import PiecewiseLinear
from .._candidates import check_data, check_levels, check_num_points, check_start
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

    The result is the path of `num_points` levels, first to last, with the shortest
    longest step, and the shortest among those. In time the level is linear between
    them. (The paper tunes epsilon by hand until the shortest path has the wanted size:
    [`softsde.fitting.appendix_c_schedule`][].) Scaling the data does not change the
    choice.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption.
        The paper takes 256.
    - `data`: clean samples stacked in front; a few thousand are enough.
    - `num_points`: the number of candidates on the path, ends included. With `None` it
        is the shortest path at the given `epsilon`, of any number of points.
    - `metric`: `"brenier"` for the closed form; `"sinkhorn"` for regularised transport
        between slices, which serves every corruption; or a
        [`softsde.fitting.Brenier`][] or [`softsde.fitting.Sinkhorn`][] with other
        settings. The `kind` of the result says how accurate the distances are.
    - `epsilon`: the longest step allowed; by default the smallest that leaves a path.
    - `start`: the time at which the level begins to move. In the paper the noise grows
        in the first 20 % of the time, while the level waits.
    - `data_range`: refuse data outside these two values, e.g. `(0, 1)` for images that
        may not have been scaled.
    - `key`: for `"sinkhorn"`, which draws slices.

    **Returns:** a [`softsde.fitting.TransportSchedule`][].

    **Raises:** `ValueError` for unsorted levels or levels that the corruption does not
    have; fewer candidates or samples than points; data that is not finite or not in
    `data_range`; distances that are not numbers; and an `epsilon` that leaves no path,
    naming the smallest that does. `TypeError` for data that is not floating-point.

    !!! example

        ```python
        blur = ss.corruptions.GaussianBlur(shape)
        result = ss.fitting.transport_schedule(
            blur, np.geomspace(0.01, 18.0, 64), images, num_points=4, start=0.2
        )
        process = ss.soft_blur(shape, levels=result.schedule)
        ```
    """
    owner = "transport_schedule"
    levels = check_levels(owner, corruption, levels)
    _check_path(num_points, epsilon, levels.size)
    check_start(owner, start)
    check_data(owner, data)
    _check_amount(data, num_points)
    _check_range(data, data_range)
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
            f"`{type(measure).__name__}`. Check that `corruption.apply` is finite on "
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


def _check_path(num_points, epsilon, candidates):
    if num_points is None and epsilon is None:
        raise ValueError(
            "`transport_schedule` needs `num_points`, `epsilon` or both: with neither, "
            "nothing says how many levels to keep."
        )
    if num_points is not None:
        check_num_points("transport_schedule", num_points, candidates)
    if epsilon is not None and not 0 < epsilon < np.inf:
        raise ValueError(
            f"`transport_schedule` got `epsilon={epsilon}`; expected a distance > 0."
        )


def _check_amount(data, num_points):
    if num_points is not None and len(data) < num_points:
        raise ValueError(
            f"`transport_schedule` got {len(data)} samples for `num_points="
            f"{num_points}`; this many levels cannot be chosen from fewer samples. "
            "Give more data, or ask for fewer points."
        )


def _check_range(data, data_range):
    # In blocks, since the data may be a file larger than the memory. If any number is
    # NaN, the extremes are NaN too.
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
            f"`data_range={data_range}`. For images of bytes: `images / 255`."
        )

r"""The paper's method of choosing levels, step by step (Section 3.3, Appendix C)."""

import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...corruptions import AbstractCorruption
from ...schedules import PiecewiseLinear
from .._candidates import check_data, check_levels, check_num_points, check_start
from ._metric import AbstractTransportMetric
from ._path import tuned_path
from ._result import TransportSchedule
from ._unpaired import UnpairedSinkhorn


def appendix_c_schedule(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    num_points: int = 32,
    metric: AbstractTransportMetric | None = None,
    start: float = 0.0,
    key: PRNGKeyArray,
) -> TransportSchedule:
    r"""Chooses levels as the paper describes it, for comparison with it.

    1. The distance of each pair of candidates is estimated by ott-jax between two
       slices of a tenth of the data, different images at the two levels, with ott-jax's
       own regularisation ([`softsde.fitting.UnpairedSinkhorn`][]).
    2. Pairs further apart than $\epsilon$ have no edge. The levels are the nodes of the
       *shortest path* from the first candidate to the last.
    3. $\epsilon$ is tuned until that path has `num_points` nodes. In time the level is
       linear between them.

    [`softsde.fitting.transport_schedule`][] chooses the path of so many nodes with the
    shortest longest step, on exact distances;
    [the page on transport](../transport.md#appendix-c-as-described) shows both.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates, from no corruption to full corruption;
        the paper takes 256.
    - `data`: clean samples stacked in front.
    - `num_points`: the nodes of the path; 32 in the paper. If no $\epsilon$ leaves a
        path of just so many, it is the nearest number that there is, and
        `len(result.path)` tells.
    - `metric`: the distances; by default `UnpairedSinkhorn()`.
    - `start`: the time at which the level begins to move.
    - `key`: for the slices.

    **Returns:** a [`softsde.fitting.TransportSchedule`][], with the tuned `epsilon`.

    **Raises:** `ValueError` for unsorted levels or levels that the corruption does not
    have, fewer candidates than points, or data that is not finite; `TypeError` for data
    that is not floating-point.

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Section 3.3 and Appendix C.
    """
    owner = "appendix_c_schedule"
    levels = check_levels(owner, corruption, levels)
    check_num_points(owner, num_points, levels.size)
    check_start(owner, start)
    check_data(owner, data)
    metric = UnpairedSinkhorn() if metric is None else metric
    found = metric.distances(corruption, levels, data, num_points=None, key=key)
    if not np.isfinite(found.matrix).all():
        raise ValueError(
            f"`{owner}` got distances that are not finite from "
            f"`{type(metric).__name__}`. Check that the data is finite, and that "
            "`corruption.apply` is on it at every level."
        )
    path, epsilon = tuned_path(found.matrix, num_points)
    schedule = PiecewiseLinear(np.linspace(start, 1.0, len(path)), levels[list(path)])
    return TransportSchedule(
        schedule, levels, found.matrix, path, epsilon, metric, found.kind
    )

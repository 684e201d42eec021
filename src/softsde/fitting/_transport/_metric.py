"""The interface of transport metrics: distances between corrupted data."""

import abc
from typing import Literal, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...corruptions import AbstractCorruption

#: `"exact"` for the given data, an `"upper bound"` on that, or an `"estimate"`.
Kind = Literal["exact", "upper bound", "estimate"]


class PairDistances(NamedTuple):
    """Distances between all pairs of levels, and how accurate they are."""

    #: Symmetric, in the units of the data; infinite for a pair that was not computed.
    matrix: Float[np.ndarray, "candidates candidates"]
    #: `"exact"` for the given data, an `"upper bound"` on that, or an `"estimate"`.
    kind: Kind


class AbstractTransportMetric(eqx.Module):
    r"""Measures $W_2$ between the data corrupted at two levels."""

    @abc.abstractmethod
    def distances(
        self,
        corruption: AbstractCorruption,
        levels: Float[np.ndarray, " candidates"],
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        num_points: int | None,
        epsilon: float | None = None,
        key: PRNGKeyArray | None = None,
    ) -> PairDistances:
        """Distances between all pairs of levels, or those that a path may use.

        **Arguments:**

        - `corruption`, `levels`: the family, and strictly increasing levels of it.
        - `data`: clean samples stacked in front.
        - `num_points`, `epsilon`: those of the path to be found, as in
            [`softsde.fitting.transport_schedule`][]. Pairs that no such path can use
            may be left out.
        - `key`: for a metric that draws slices or noise.

        **Returns:** the matrix, infinite for pairs left out, and its accuracy.
        """

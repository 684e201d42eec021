"""What a transport metric is: distances between corrupted data, and what they are."""

import abc
from typing import Literal, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...corruptions import AbstractCorruption

#: `"exact"` for the data given, an `"upper bound"` on that, or an `"estimate"`.
Kind = Literal["exact", "upper bound", "estimate"]


class PairDistances(NamedTuple):
    """Distances between all pairs of levels, and what they are."""

    #: Symmetric, in the units of the data; infinite for a pair that was not computed.
    matrix: Float[np.ndarray, "candidates candidates"]
    kind: Kind


class AbstractTransportMetric(eqx.Module):
    r"""How to measure $W_2$ between the data corrupted at two levels."""

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
        """Distances between all pairs of levels, or all that a path may use.

        **Arguments:**

        - `corruption`, `levels`: the family, and strictly increasing levels of it.
        - `data`: clean samples stacked in front.
        - `num_points`, `epsilon`: of the path that will be looked for, as in
            [`softsde.schedules.transport_schedule`][]; a pair that it cannot use may be
            left out.
        - `key`: for a metric that draws slices or noise.

        **Returns:** the matrix, infinite where left out, and what it is: `"exact"`,
        an `"upper bound"` or an `"estimate"`.
        """

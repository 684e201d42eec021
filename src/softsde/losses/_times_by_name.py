"""The distributions of times that have a name."""

from typing import Literal, TypeAlias

from jaxtyping import Array, Float

from .._types import Key
from ..processes import Process
from ._log_normal import LogNormalTimes
from ._times import AbstractTimes, LowDiscrepancyTimes, UniformTimes

TimesName: TypeAlias = Literal["uniform", "low_discrepancy", "log_normal"]
Times: TypeAlias = TimesName | AbstractTimes

_NAMED: dict[str, type[AbstractTimes]] = {
    "uniform": UniformTimes,
    "low_discrepancy": LowDiscrepancyTimes,
    "log_normal": LogNormalTimes,
}


def draw_times(
    process: Process,
    number: int,
    *,
    key: Key,
    sampler: Times = "low_discrepancy",
) -> Float[Array, " number"]:
    """Draws the times of a batch, without their weights.

    **Arguments:**

    - `process`: the process whose interval of times is drawn from.
    - `number`: the number of times.
    - `key`: for the draw.
    - `sampler`: `"uniform"`, `"low_discrepancy"`, `"log_normal"`, or an
        [`softsde.losses.AbstractTimes`][].

    **Returns:** the times.

    **Raises:** `ValueError` for an unknown name.
    """
    return as_times(sampler).draw(process, number, key=key)[0]


def as_times(times: Times) -> AbstractTimes:
    if isinstance(times, AbstractTimes):
        return times
    if not isinstance(times, str) or times not in _NAMED:
        raise ValueError(
            f"Unknown `times` {times!r}; expected one of {tuple(_NAMED)}, or one of "
            "the classes, such as `softsde.losses.LogNormalTimes(mean, std)`."
        )
    return _NAMED[times]()

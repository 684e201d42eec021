"""Clocks by name."""

from typing import Literal

from ._base import AbstractClock
from ._ode import Ode
from ._sde import Sde

_NAMED = {"ode": Ode, "sde": Sde}


def make_clock(clock: AbstractClock | Literal["ode", "sde"]) -> AbstractClock:
    """The clock that `"ode"` or `"sde"` stands for; a clock stands for itself.

    **Arguments:**

    - `clock`: a name or a clock.

    **Raises:** `ValueError` for another name, `TypeError` for anything else.
    """
    if isinstance(clock, AbstractClock):
        return clock
    if isinstance(clock, str):
        if clock in _NAMED:
            return _NAMED[clock]()
        raise ValueError(
            f"Unknown clock {clock!r}; expected 'sde' (the reverse SDE of Eq. 14), "
            "'ode' (the probability flow), or a clock such as "
            "`softsde.clocks.Churn(20.0)`."
        )
    raise TypeError(
        f"Got {type(clock).__name__} for a clock; expected 'sde', 'ode' or one of "
        "`softsde.clocks`. A rate of your own is `softsde.clocks.Custom(rate)`, with "
        "`rate` a function of the time `t`."
    )

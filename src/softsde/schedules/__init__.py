"""Schedules: scalar functions of time, for the noise and for the corruption level.

They know time only: no image, no operator. `transport_schedule` is the one room that
looks at data, to choose a level schedule.
"""

from ._base import AbstractSchedule as AbstractSchedule
from ._constant import Constant as Constant
from ._geometric import Geometric as Geometric
from ._io import from_dict as from_dict, load as load
from ._piecewise_linear import PiecewiseLinear as PiecewiseLinear
from ._transport import (
    TransportSchedule as TransportSchedule,
    transport_schedule as transport_schedule,
)
from ._two_phase import TwoPhase as TwoPhase

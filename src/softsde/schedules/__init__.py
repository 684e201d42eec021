"""Schedules: scalar functions of time, for the noise and for the corruption level.

They know time only: no image, no operator. `transport_schedule` is the one room that
looks at data, to choose a level schedule.
"""

from ._base import AbstractSchedule as AbstractSchedule
from ._bounded_cosine_vp import (
    BoundedCosineVP as BoundedCosineVP,
    BoundedCosineVPSignal as BoundedCosineVPSignal,
)
from ._constant import Constant as Constant
from ._cosine import Cosine as Cosine
from ._cosine_vp import CosineVP as CosineVP, CosineVPSignal as CosineVPSignal
from ._edm import EDM as EDM
from ._final_level import FinalLevel as FinalLevel, final_level as final_level
from ._fit_warp import FittedWarp as FittedWarp, fit_warp as fit_warp
from ._geometric import Geometric as Geometric
from ._io import (
    from_dict as from_dict,
    load as load,
    provenance as provenance,
)
from ._joint import JointSchedule as JointSchedule, joint_schedule as joint_schedule
from ._largest_distance import (
    LargestDistance as LargestDistance,
    largest_distance as largest_distance,
)
from ._linear import Linear as Linear
from ._log_snr import log_snr_schedule as log_snr_schedule
from ._matched_error import (
    MatchedErrorSchedule as MatchedErrorSchedule,
    matched_error_schedule as matched_error_schedule,
)
from ._noise_levels import (
    geometric_ratio as geometric_ratio,
    langevin_step_size as langevin_step_size,
    num_noise_levels as num_noise_levels,
    variance_ratio as variance_ratio,
)
from ._piecewise_linear import PiecewiseLinear as PiecewiseLinear
from ._sequence import noise_sequence as noise_sequence
from ._shipped import shipped as shipped, shipped_names as shipped_names
from ._sigmoid import Sigmoid as Sigmoid
from ._softmax_warp import SoftmaxWarp as SoftmaxWarp
from ._time_warp import TimeWarp as TimeWarp
from ._transport import (
    AbstractTransportMetric as AbstractTransportMetric,
    Brenier as Brenier,
    Certificate as Certificate,
    PairDistances as PairDistances,
    Sinkhorn as Sinkhorn,
    TransportSchedule as TransportSchedule,
    certify as certify,
    transport_schedule as transport_schedule,
)
from ._transport_speed import transport_speed as transport_speed
from ._two_phase import TwoPhase as TwoPhase
from ._vp import VP as VP, SubVP as SubVP, VPSignal as VPSignal

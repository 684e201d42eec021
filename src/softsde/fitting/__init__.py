"""Schedules and other choices that are made from data, a corruption or a process.

Distances between corrupted data, the levels chosen by them, the last level and the
largest noise, noise and level together, and a warp that evens out a cost.
"""

from ._final_level import FinalLevel as FinalLevel, final_level as final_level
from ._fit_warp import FittedWarp as FittedWarp, fit_warp as fit_warp
from ._joint import JointSchedule as JointSchedule, joint_schedule as joint_schedule
from ._largest_distance import (
    LargestDistance as LargestDistance,
    largest_distance as largest_distance,
)
from ._log_snr import log_snr_schedule as log_snr_schedule
from ._matched_error import (
    MatchedErrorSchedule as MatchedErrorSchedule,
    matched_error_schedule as matched_error_schedule,
)
from ._noise_levels import (
    geometric_ratio as geometric_ratio,
    langevin_step_size as langevin_step_size,
    num_noise_levels as num_noise_levels,
    shell_overlap as shell_overlap,
    variance_ratio as variance_ratio,
)
from ._shipped import (
    provenance as provenance,
    shipped as shipped,
    shipped_names as shipped_names,
)
from ._transport import (
    AbstractTransportMetric as AbstractTransportMetric,
    Brenier as Brenier,
    Certificate as Certificate,
    PairDistances as PairDistances,
    Sinkhorn as Sinkhorn,
    TransportSchedule as TransportSchedule,
    UnpairedSinkhorn as UnpairedSinkhorn,
    appendix_c_schedule as appendix_c_schedule,
    certify as certify,
    transport_schedule as transport_schedule,
)
from ._transport_speed import (
    TransportSpeed as TransportSpeed,
    transport_speed as transport_speed,
)

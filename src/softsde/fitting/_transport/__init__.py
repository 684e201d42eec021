"""Level schedules by optimal transport."""

from ._appendix_c import appendix_c_schedule as appendix_c_schedule
from ._brenier import (
    Brenier as Brenier,
    coupling_distances as coupling_distances,
)
from ._certify import Certificate as Certificate, certify as certify
from ._metric import (
    AbstractTransportMetric as AbstractTransportMetric,
    PairDistances as PairDistances,
)
from ._result import TransportSchedule as TransportSchedule
from ._schedule import transport_schedule as transport_schedule
from ._sinkhorn import Sinkhorn as Sinkhorn
from ._unpaired import UnpairedSinkhorn as UnpairedSinkhorn

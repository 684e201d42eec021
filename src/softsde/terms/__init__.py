"""Terms: what diffrax integrates, written in the reversed clock `s = t1 - t`.

Solvers see a process only through these.
"""

from ._brownian import ClockedBrownianPath as ClockedBrownianPath
from ._clock import (
    AbstractNoiseClock as AbstractNoiseClock,
    ChurnClock as ChurnClock,
    CustomClock as CustomClock,
    FlowClock as FlowClock,
    PaperClock as PaperClock,
)
from ._control import (
    Control as Control,
    ControlField as ControlField,
    ReverseControlTerm as ReverseControlTerm,
)
from ._reverse import probability_flow as probability_flow, reverse_sde as reverse_sde

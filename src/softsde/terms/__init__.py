"""Terms: what diffrax integrates, in a clock that starts at 0 and runs forwards.

Back in time that is the reversed clock `s = t1 - t`. Solvers see a process only through
these.
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
    ControlForm as ControlForm,
)
from ._form import AbstractForm as AbstractForm
from ._named import (
    forward_sde as forward_sde,
    probability_flow as probability_flow,
    reverse_sde as reverse_sde,
)
from ._normalised import (
    NormalisedControl as NormalisedControl,
    NormalisedField as NormalisedField,
    NormalisedForm as NormalisedForm,
)

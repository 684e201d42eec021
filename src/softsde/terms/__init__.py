"""Terms: what diffrax integrates, in a time that starts at 0 and runs forwards.

Back in the time of the process that is `s = t1 - t`. They are ordinary diffrax terms:
any solver of diffrax that suits them reaches its own order on them, and the solvers of
this library step the same terms from operator to operator.
"""

from ._drift import Drift as Drift
from ._named import (
    check_denoiser as check_denoiser,
    forward_sde as forward_sde,
    probability_flow as probability_flow,
    reverse_sde as reverse_sde,
)
from ._noise import (
    InjectedNoise as InjectedNoise,
    StepNoise as StepNoise,
    step_key as step_key,
    tree_tolerance as tree_tolerance,
    unit_increment as unit_increment,
)

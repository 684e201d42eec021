"""Solvers: one step each, as diffrax solver classes."""

from ._base import (
    AbstractReverseSolver as AbstractReverseSolver,
    Advance as Advance,
)
from ._ddim import DDIM as DDIM
from ._heun_momentum import HeunMomentum as HeunMomentum
from ._momentum import Momentum as Momentum
from ._multistep import Multistep as Multistep
from ._naive import Naive as Naive

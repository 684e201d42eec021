"""Solvers: one step each, as diffrax solver classes."""

from ._base import AbstractReverseSolver as AbstractReverseSolver
from ._heun_momentum import HeunMomentum as HeunMomentum
from ._momentum import Momentum as Momentum
from ._naive import Naive as Naive

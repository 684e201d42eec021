"""Solvers: one step each, as diffrax solver classes."""

from ._annealed_langevin import AnnealedLangevin as AnnealedLangevin
from ._base import (
    AbstractReverseSolver as AbstractReverseSolver,
    Advance as Advance,
)
from ._chain import LangevinRecord as LangevinRecord
from ._correctors import AbstractCorrector as AbstractCorrector
from ._ddim import DDIM as DDIM
from ._heun_momentum import HeunMomentum as HeunMomentum
from ._langevin import Langevin as Langevin
from ._momentum import Momentum as Momentum
from ._momentum_corrector import MomentumCorrector as MomentumCorrector
from ._multistep import Multistep as Multistep
from ._naive import Naive as Naive
from ._predictor_corrector import PredictorCorrector as PredictorCorrector
from ._stochastic_heun import StochasticHeun as StochasticHeun

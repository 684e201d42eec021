"""Solvers: one step each, as diffrax solvers. Each has its formula in its own file."""

from ._ancestral import Ancestral as Ancestral
from ._annealed_langevin import AnnealedLangevin as AnnealedLangevin
from ._base import (
    AbstractSolver as AbstractSolver,
    Step as Step,
    check_noise as check_noise,
)
from ._ddim import DDIM as DDIM
from ._edm_heun import EDMHeun as EDMHeun
from ._evaluations import (
    count_evaluations as count_evaluations,
    fresh_starts as fresh_starts,
)
from ._heun import Heun as Heun
from ._langevin import Langevin as Langevin, LangevinRecord as LangevinRecord
from ._momentum import Momentum as Momentum
from ._momentum_corrector import MomentumCorrector as MomentumCorrector
from ._multistep import Multistep as Multistep
from ._naive import Naive as Naive
from ._predictor_corrector import (
    AbstractCorrector as AbstractCorrector,
    PredictorCorrector as PredictorCorrector,
)

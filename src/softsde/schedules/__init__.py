"""Schedules: scalar functions of time, for the noise and for the corruption level.

They know nothing of images or operators; the room `fitting` chooses schedules from
data.
"""

from ._base import AbstractSchedule as AbstractSchedule
from ._bounded_cosine_vp import (
    BoundedCosineVP as BoundedCosineVP,
    BoundedCosineVPSignal as BoundedCosineVPSignal,
)
from ._constant import Constant as Constant
from ._cosine import Cosine as Cosine
from ._cosine_vp import CosineVP as CosineVP, CosineVPSignal as CosineVPSignal
from ._discrete_vp import (
    DiscreteVP as DiscreteVP,
    DiscreteVPSignal as DiscreteVPSignal,
)
from ._edm import EDM as EDM
from ._geometric import Geometric as Geometric
from ._io import (
    from_dict as from_dict,
    load as load,
    provenance as provenance,
)
from ._linear import Linear as Linear
from ._piecewise_linear import PiecewiseLinear as PiecewiseLinear
from ._sequence import noise_sequence as noise_sequence
from ._sigmoid import Sigmoid as Sigmoid
from ._softmax_warp import SoftmaxWarp as SoftmaxWarp
from ._time_warp import TimeWarp as TimeWarp
from ._two_phase import TwoPhase as TwoPhase
from ._vp import VP as VP, SubVP as SubVP, VPSignal as VPSignal

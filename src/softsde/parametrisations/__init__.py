"""Parametrisations: how a network's output is read as the posterior mean of `x0`."""

from ._base import (
    AbstractCorruptedParametrisation as AbstractCorruptedParametrisation,
    AbstractParametrisation as AbstractParametrisation,
)
from ._clean import Clean as Clean
from ._convert import convert as convert
from ._default import default_for as default_for
from ._edm import EDM as EDM
from ._noise import Noise as Noise
from ._residual import Residual as Residual
from ._score import Score as Score
from ._velocity import Velocity as Velocity

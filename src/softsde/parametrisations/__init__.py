"""Parametrisations: how a network's output is read as the posterior mean of `x0`."""

from ._base import AbstractParametrisation as AbstractParametrisation
from ._clean import Clean as Clean
from ._denoiser import AbstractDenoiser as AbstractDenoiser, Denoiser as Denoiser
from ._residual import Residual as Residual

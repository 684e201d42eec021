"""Denoisers: `E[x0 | x_t = x]` of a process that they know.

A network read through a parametrisation, or a function of your own. Oracles and guided
denoisers are denoisers too.
"""

from ._base import AbstractDenoiser as AbstractDenoiser
from ._condition import unconditional as unconditional
from ._function import FunctionDenoiser as FunctionDenoiser
from ._network import Denoiser as Denoiser

"""Solvers: one step each, as diffrax solver classes."""

from ._momentum import Momentum as Momentum
from ._naive import Naive as Naive

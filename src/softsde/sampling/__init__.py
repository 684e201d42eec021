"""Sampling: `sample`, what it starts from, and where it takes its steps."""

from ._empirical_prior import EmpiricalPrior as EmpiricalPrior
from ._exact_prior import ExactPrior as ExactPrior
from ._flat_colour_prior import FlatColourPrior as FlatColourPrior
from ._gaussian_prior import GaussianPrior as GaussianPrior
from ._prior import AbstractPrior as AbstractPrior, check_prior as check_prior
from ._sample import Samples as Samples, sample as sample
from ._times import (
    arc_length_times as arc_length_times,
    karras_times as karras_times,
    uniform_times as uniform_times,
)

"""Losses: one weighted residual, its named members, and the batch around it.

Each loss takes one clean sample at one time; `batch_loss` draws the times and maps.
"""

from ._batch import batch_loss as batch_loss, draw_times as draw_times
from ._members import (
    CleanPrediction as CleanPrediction,
    DenoisingScoreMatching as DenoisingScoreMatching,
    SoftScoreMatching as SoftScoreMatching,
)
from ._relative import RelativeWeight as RelativeWeight
from ._weighted_residual import WeightedResidual as WeightedResidual
from ._weights import weight_function as weight_function

"""Losses: one weighted residual, its named members, their sums, and the batch.

Each loss takes one clean sample at one time; `batch_loss` draws the times and maps.
"""

from ._batch import (
    BatchLosses as BatchLosses,
    batch_loss as batch_loss,
    batch_losses as batch_losses,
    draw_times as draw_times,
)
from ._importance import ImportanceTimes as ImportanceTimes
from ._members import (
    AnnealedDSM as AnnealedDSM,
    CleanPrediction as CleanPrediction,
    DenoisingScoreMatching as DenoisingScoreMatching,
    SoftScoreMatching as SoftScoreMatching,
    VelocityMatching as VelocityMatching,
)
from ._noise_levels import AtNoiseLevels as AtNoiseLevels
from ._process_weights import EDMWeight as EDMWeight, MinSNRWeight as MinSNRWeight
from ._relative import RelativeWeight as RelativeWeight
from ._residual_loss import (
    AbstractResidualLoss as AbstractResidualLoss,
    SumOfLosses as SumOfLosses,
)
from ._score_loss import (
    AbstractScoreLoss as AbstractScoreLoss,
    ImplicitScoreMatching as ImplicitScoreMatching,
    SlicedScoreMatching as SlicedScoreMatching,
)
from ._weighted_residual import WeightedResidual as WeightedResidual
from ._weights import weight_function as weight_function

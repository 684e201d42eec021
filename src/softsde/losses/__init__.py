"""Losses: one weighted residual and its named cases, sums of them, and the batch.

A loss takes a denoiser, one clean sample and one time. `batch_loss` draws the times and
takes the mean over a batch.
"""

from ._annealed_dsm import AnnealedDSM as AnnealedDSM
from ._base import AbstractLoss as AbstractLoss
from ._batch import (
    BatchLosses as BatchLosses,
    batch_loss as batch_loss,
    batch_losses as batch_losses,
)
from ._clean_prediction import CleanPrediction as CleanPrediction
from ._denoising_score_matching import DenoisingScoreMatching as DenoisingScoreMatching
from ._explicit_score_matching import ExplicitScoreMatching as ExplicitScoreMatching
from ._implicit_score_matching import ImplicitScoreMatching as ImplicitScoreMatching
from ._importance import ImportanceTimes as ImportanceTimes
from ._log_normal import LogNormalTimes as LogNormalTimes
from ._noise_levels import AtNoiseLevels as AtNoiseLevels
from ._on_batches import on_batches as on_batches
from ._process_weights import EDMWeight as EDMWeight, MinSNRWeight as MinSNRWeight
from ._relative import (
    RelativeWeight as RelativeWeight,
    affine_losses as affine_losses,
)
from ._residual import (
    AbstractResidualLoss as AbstractResidualLoss,
    SumOfLosses as SumOfLosses,
)
from ._score import AbstractScoreLoss as AbstractScoreLoss
from ._sliced_score_matching import SlicedScoreMatching as SlicedScoreMatching
from ._soft_score_matching import SoftScoreMatching as SoftScoreMatching
from ._times import (
    AbstractTimes as AbstractTimes,
    LowDiscrepancyTimes as LowDiscrepancyTimes,
    UniformTimes as UniformTimes,
)
from ._times_by_name import draw_times as draw_times
from ._variational import VariationalWeight as VariationalWeight
from ._velocity_matching import VelocityMatching as VelocityMatching
from ._weighted_residual import WeightedResidual as WeightedResidual
from ._weights import weight_function as weight_function

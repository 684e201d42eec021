"""Networks: unbatched, channels-last Equinox modules."""

from ._classifier import Classifier as Classifier
from ._condition import ConditionEmbedding as ConditionEmbedding
from ._layers import (
    Conv as Conv,
    GroupNorm as GroupNorm,
    Linear as Linear,
    SelfAttention as SelfAttention,
    TimeEmbedding as TimeEmbedding,
)
from ._mlp import MLP as MLP, MLPBlock as MLPBlock
from ._patch import patchify as patchify, unpatchify as unpatchify
from ._sees import (
    AbstractSees as AbstractSees,
    SeesLevel as SeesLevel,
    SeesLogSigma as SeesLogSigma,
    SeesSigma as SeesSigma,
    SeesTime as SeesTime,
)
from ._unet import ResidualBlock as ResidualBlock, UNet as UNet

"""Networks: unbatched, channels-last Equinox modules.

A layer computes in the dtype of its input: its parameters are cast to it, so a float32
network on bfloat16 images is mixed-precision training.
"""

from ._arguments import AbstractNetwork as AbstractNetwork
from ._classifier import Classifier as Classifier
from ._condition import ConditionEmbedding as ConditionEmbedding
from ._conv import Conv as Conv
from ._ddpmpp import DDPMpp as DDPMpp
from ._dit import (
    DiT as DiT,
    DiTBlock as DiTBlock,
    layer_norm as layer_norm,
)
from ._edm2_block import EDM2Block as EDM2Block
from ._edm2_unet import EDM2UNet as EDM2UNet
from ._film import FiLM as FiLM
from ._fourier_embedding import FourierEmbedding as FourierEmbedding
from ._group_norm import GroupNorm as GroupNorm
from ._instance_norm import (
    ConditionalInstanceNormPlus as ConditionalInstanceNormPlus,
    InstanceNormPlus as InstanceNormPlus,
)
from ._linear import Linear as Linear
from ._magnitude import (
    MPConv as MPConv,
    MPFourier as MPFourier,
    mp_concatenate as mp_concatenate,
    mp_silu as mp_silu,
    mp_sum as mp_sum,
    unit_magnitude as unit_magnitude,
)
from ._mlp import MLP as MLP, MLPBlock as MLPBlock
from ._ncsn import NCSN as NCSN
from ._ncsnpp import NCSNpp as NCSNpp
from ._ncsnv2 import NCSNv2 as NCSNv2
from ._patch import patchify as patchify, unpatchify as unpatchify
from ._pixel_attention import PixelAttention as PixelAttention
from ._position_features import position_features as position_features
from ._positional_embedding import positional_embedding as positional_embedding
from ._published import (
    AbstractPublished as AbstractPublished,
    load_state_dict as load_state_dict,
    state_dict as state_dict,
)
from ._resample import (
    Downsample as Downsample,
    Upsample as Upsample,
    fir_downsample as fir_downsample,
    fir_upsample as fir_upsample,
    mean_downsample as mean_downsample,
    repeat_upsample as repeat_upsample,
)
from ._residual_block import ResidualBlock as ResidualBlock
from ._score_block import ScoreBlock as ScoreBlock
from ._sees import (
    AbstractSees as AbstractSees,
    SeesLevel as SeesLevel,
    SeesLogSigma as SeesLogSigma,
    SeesNearest as SeesNearest,
    SeesSigma as SeesSigma,
    SeesTime as SeesTime,
)
from ._self_attention import SelfAttention as SelfAttention
from ._song_unet import SongUNet as SongUNet
from ._time_embedding import TimeEmbedding as TimeEmbedding
from ._unet import UNet as UNet
from ._unit_weights import keep_unit_weights as keep_unit_weights
from ._vector_features import VectorFourierFeatures as VectorFourierFeatures

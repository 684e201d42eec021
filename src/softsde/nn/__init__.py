"""Networks: unbatched, channels-last Equinox modules."""

from ._classifier import Classifier as Classifier
from ._layers import (
    Conv as Conv,
)
from ._layers import (
    GroupNorm as GroupNorm,
)
from ._layers import (
    Linear as Linear,
)
from ._layers import (
    SelfAttention as SelfAttention,
)
from ._layers import (
    TimeEmbedding as TimeEmbedding,
)
from ._patch import patchify as patchify
from ._patch import unpatchify as unpatchify
from ._unet import ResidualBlock as ResidualBlock
from ._unet import UNet as UNet

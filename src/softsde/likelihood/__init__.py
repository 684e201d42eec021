"""Likelihoods by the probability flow: in nats, and in bits a dimension for images."""

from ._bits_per_dim import BitsPerDim as BitsPerDim, bits_per_dim as bits_per_dim
from ._dequantise import dequantise as dequantise
from ._divergence import (
    AbstractDivergence as AbstractDivergence,
    ExactDivergence as ExactDivergence,
    HutchinsonDivergence as HutchinsonDivergence,
)
from ._log_likelihood import (
    LogLikelihood as LogLikelihood,
    log_likelihood as log_likelihood,
)

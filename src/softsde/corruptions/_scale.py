"""The corruption that fades the whole sample: what VP, subVP and flow matching use."""

import jax.numpy as jnp

from .._types import Sample, ScalarLike
from ._base import AbstractCorruption


class Scale(AbstractCorruption):
    r"""$C(\theta) = \theta I$: the level is the factor itself, 1 on clean samples.

    With a level schedule that falls from 1, such as the VP one, a process is the
    classic $x_t = \alpha_t x_0 + \sigma_t \eta$.
    """

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        return jnp.asarray(theta, x.dtype) * x

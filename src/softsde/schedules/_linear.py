"""From one value to another at constant speed."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule
from ._between import between, check_ends, share_of


class Linear(AbstractSchedule):
    r"""$a + (b - a)\, t$ for $t \in [0, 1]$, with $a$ `start` and $b$ `end`.

    Rectified flow is two of them: the signal falls from 1 to 0, the noise rises from 0
    to 1.
    """

    start: ArrayLike = 0.0
    end: ArrayLike = 1.0

    def __check_init__(self):
        check_ends("Linear", self.start, self.end)

    def __call__(self, t: ScalarLike) -> Scalar:
        return between(self.start, self.end, jnp.asarray(t))

    def inverse(self, value: ScalarLike) -> Scalar:
        return share_of(self.start, self.end, value)

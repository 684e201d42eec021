"""A straight line from one value to another."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, log_ratio_by_change, same_dtype
from ._between import between, check_ends, share_of


class Linear(AbstractSchedule):
    r"""$a + (b - a)\, t$ for $t \in [0, 1]$, with $a$ `start` and $b$ `end`.

    Rectified flow uses two of them: its signal falls from 1 to 0, and its noise rises
    from 0 to 1.
    """

    start: ArrayLike = 0.0
    end: ArrayLike = 1.0

    def __check_init__(self):
        check_ends("Linear", self.start, self.end)

    def __call__(self, t: ScalarLike) -> Scalar:
        return between(self.start, self.end, jnp.asarray(t))

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = same_dtype(t, t_next)
        speed = jnp.asarray(self.end, t.dtype) - jnp.asarray(self.start, t.dtype)
        return log_ratio_by_change(self(t), self(t_next), speed * (t - t_next))

    def inverse(self, value: ScalarLike) -> Scalar:
        return share_of(self.start, self.end, value)

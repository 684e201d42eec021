"""A schedule with one value at all times."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_non_negative
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule, same_dtype


class Constant(AbstractSchedule):
    """`value` at all times."""

    value: ArrayLike

    def __check_init__(self):
        check_non_negative("Constant", "value", self.value)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        return jnp.asarray(self.value, t.dtype) + jnp.zeros_like(t)

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return jnp.zeros_like(same_dtype(t, t_next)[0])

    def inverse(self, value: ScalarLike) -> Scalar:
        raise ValueError(
            "`Constant` has the same value at all times, so it has no inverse. Use a "
            "strictly increasing schedule, such as `Geometric`."
        )

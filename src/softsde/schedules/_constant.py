"""A schedule that does not move."""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_non_negative
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule


class Constant(AbstractSchedule):
    """`value` at all times."""

    value: ArrayLike

    def __check_init__(self):
        check_non_negative("Constant", "value", self.value)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        return jnp.asarray(self.value, t.dtype) + jnp.zeros_like(t)

    def inverse(self, value: ScalarLike) -> Scalar:
        raise ValueError(
            "`Constant` takes one value at all times: it has no inverse. Use a "
            "strictly increasing schedule, such as `Geometric`."
        )

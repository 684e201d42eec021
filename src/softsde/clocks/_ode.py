"""No noise: the probability flow."""

import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractClock, both_ends


class Ode(AbstractClock):
    r"""No noise, $d\mu = 0$: the probability flow (Eq. 19, 49, 51)."""

    def rate(self, process: Process, t: ScalarLike) -> Scalar:
        return jnp.zeros_like(jnp.asarray(t))

    def mu(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return jnp.zeros_like(both_ends(t, t_next)[0])

    def variance(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return jnp.zeros_like(both_ends(t, t_next)[0])

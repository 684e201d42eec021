"""A schedule run at another pace."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule


class TimeWarp(AbstractSchedule):
    r"""$t \mapsto f(w(t))$, with $f$ the schedule `base` and $w$ the schedule `warp`.

    !!! example

        ```python
        # slow at both ends
        noise = ss.schedules.TimeWarp(
            ss.schedules.Geometric(0.01, 50.0), ss.schedules.Cosine(0.0, 1.0)
        )
        ```
    """

    base: AbstractSchedule
    warp: AbstractSchedule

    def __check_init__(self):
        for name in ("base", "warp"):
            if not isinstance(getattr(self, name), AbstractSchedule):
                raise TypeError(
                    f"`TimeWarp` got {type(getattr(self, name)).__name__} for "
                    f"`{name}`; expected a schedule. For a warp by points use "
                    "`PiecewiseLinear(times, warped_times)`."
                )

    def __call__(self, t: ScalarLike) -> Scalar:
        return self.base(self.warp(t))

    def kinks(self) -> Float[Array, " kinks"]:
        base = self.base.kinks()
        if base.size:
            base = jax.vmap(self.warp.inverse)(base)
        return jnp.concatenate([base, self.warp.kinks()])

    def inverse(self, value: ScalarLike) -> Scalar:
        return self.warp.inverse(self.base.inverse(value))

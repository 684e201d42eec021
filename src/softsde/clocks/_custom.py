"""A clock with a rate of your own."""

from collections.abc import Callable

import equinox as eqx
import jax.numpy as jnp

from .._opaque import as_module
from .._types import Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractClock, integrate


class Custom(AbstractClock):
    r"""A rate $d\mu/dt$ of your own: noise per time, relative to what is there.

    !!! example

        ```python
        late = ss.clocks.Custom(lambda t: jnp.where(t > 0.5, 10.0, 0.0))
        ss.sample(denoiser, x1=xs, clock=late, num_steps=40, key=key)
        ```
    """

    function: Callable[[ScalarLike], Scalar]

    def __init__(self, rate: Callable[[ScalarLike], Scalar]):
        r"""**Arguments:**

        - `rate`: $d\mu/dt$ as a function of the time $t$ of the process; at least 0. A
            function, or an Equinox module with parameters. It is integrated over each
            step, so it should vary little within one.

        **Raises:** `TypeError` for something that cannot be called; an error when it
        runs for a negative rate.
        """
        if not callable(rate):
            raise TypeError(
                f"`Custom` got {type(rate).__name__} for `rate`; expected a function "
                "of the time `t`, such as `lambda t: 10.0 * t`."
            )
        self.function = as_module(rate)

    def rate(self, process: Process, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        value = jnp.asarray(self.function(t), t.dtype)
        return eqx.error_if(
            value,
            value < 0,
            "The rate of a `Custom` clock is negative: noise can be injected, but not "
            "taken back. Return at least 0 at every time.",
        )

    def mu(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return integrate(lambda v: self.rate(process, v), t, t_next)

    def variance(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return integrate(
            lambda v: self.rate(process, v) * process.sigma(v) ** 2, t, t_next
        )

"""The paper's clock, and more noise on top."""

import jax.numpy as jnp

from .._checks import check_non_negative
from .._types import Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractClock, both_ends, integrate
from ._sde import Sde


class Churn(AbstractClock):
    r"""The paper's clock and more noise on top, also while `sigma` rests.

    $d\Lambda = |d\sigma^2| + c\, \sigma_t^2\, dt$: with churn $c$ the noise in a sample
    is replaced about $c / 2$ times in a unit of time. It changes no marginal, and lets
    the sampler forget earlier mistakes of a network: it removes artefacts, where the
    paper's clock injects nothing while the blur runs and carries mistakes to the end.
    Keep $c$ below the number of steps in a unit of time, or noise is replaced faster
    than steps can follow. Over a step

    $$\mu = 2 \left|\log \frac{\sigma_t}{\sigma_{t'}}\right| + c\, |t - t'|.$$

    !!! example

        ```python
        clock = ss.clocks.Churn(20.0)
        ss.sample(denoiser, x1=xs, clock=clock, num_steps=40, key=key)
        ```
    """

    amount: float

    def __init__(self, amount: float):
        """**Arguments:**

        - `amount`: $c$, at least 0; 0 is the paper's clock.

        **Raises:** `ValueError` for a negative number.
        """
        check_non_negative("Churn", "amount", amount)
        self.amount = amount

    def rate(self, process: Process, t: ScalarLike) -> Scalar:
        return Sde().rate(process, t) + self.amount

    def mu(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        t, t_next = both_ends(t, t_next)
        extra = self.amount * jnp.abs(t - t_next)
        return Sde().mu(process, t, t_next) + extra

    def variance(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        extra = integrate(lambda v: process.sigma(v) ** 2, t, t_next)
        return Sde().variance(process, t, t_next) + self.amount * extra

"""The paper's clock: as much noise as the process itself adds."""

import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractClock, both_ends


class Sde(AbstractClock):
    r"""The paper's reverse SDE (Eq. 14), and forward in time its forward SDE (Eq. 13).

    It injects as much noise as the process adds over the same stretch of time,
    $d\Lambda = |d\sigma^2|$, so nothing while `sigma` rests. Over a step

    $$\mu = 2 \left|\log \frac{\sigma_t}{\sigma_{t'}}\right|, \qquad
    \Delta\Lambda = |\sigma_t^2 - \sigma_{t'}^2|.$$
    """

    def rate(self, process: Process, t: ScalarLike) -> Scalar:
        return 2 * process.log_sigma_derivative(t)

    def mu(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return 2 * jnp.abs(process.log_sigma_ratio(*both_ends(t, t_next)))

    def variance(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        return jnp.abs(process.variance_drop(*both_ends(t, t_next)))

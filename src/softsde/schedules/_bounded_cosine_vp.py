r"""The cosine schedule with a bounded log signal-to-noise ratio.

The angle $\phi_t$ with $\tan \phi_t = \sigma_t / \alpha_t$ is linear in time, between
the two angles at which the log ratio $-2 \log \tan \phi$ has its bounds. Each schedule
is the sine of an angle that is zero where the schedule is zero, so neither cancels.
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule


def _check_bounds(owner: str, least: ArrayLike, greatest: ArrayLike) -> None:
    low, high = concrete(least), concrete(greatest)
    if low is not None and high is not None and not low < high:
        raise ValueError(
            f"`{owner}` needs `log_snr_min` < `log_snr_max`, got {low} and {high}."
        )


def _angles(schedule, dtype) -> tuple[Scalar, Scalar, Scalar]:
    """The angles from no noise to the start, from the end to no signal, and between."""
    greatest = jnp.asarray(schedule.log_snr_max, dtype)
    least = jnp.asarray(schedule.log_snr_min, dtype)
    before, after = (
        jnp.arctan(jnp.exp(-0.5 * greatest)),
        jnp.arctan(jnp.exp(0.5 * least)),
    )
    return before, after, 0.5 * jnp.pi - before - after


class BoundedCosineVPSignal(AbstractSchedule):
    r"""$\alpha_t = \cos \phi_t$ with $\phi_t = \phi_0 + t\,(\phi_1 - \phi_0)$.

    $\phi_0 = \arctan e^{-\lambda_{\max}/2}$ and
    $\phi_1 = \arctan e^{-\lambda_{\min}/2}$, where $\lambda$ is the log signal-to-noise
    ratio $\log \alpha^2 / \sigma^2$. It is `log_snr_max` at $t = 0$, where the signal
    is 2e-5 below 1 by default, and `log_snr_min` at $t = 1$.

    ??? cite "Reference"

        Hoogeboom and Salimans, *Blurring Diffusion Models*, ICLR 2023, Appendix A.
    """

    log_snr_min: ArrayLike = -10.0
    log_snr_max: ArrayLike = 10.0

    def __check_init__(self):
        _check_bounds("BoundedCosineVPSignal", self.log_snr_min, self.log_snr_max)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        _, after, between = _angles(self, t.dtype)
        return jnp.sin(after + between * (1 - t))

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        _, after, between = _angles(self, value.dtype)
        return 1 - (jnp.arcsin(value) - after) / between


class BoundedCosineVP(AbstractSchedule):
    r"""$\sigma_t = \sin \phi_t = \sqrt{1 - \alpha_t^2}$.

    It belongs to the signal [`softsde.schedules.BoundedCosineVPSignal`][]. Unlike
    [`softsde.schedules.CosineVP`][] it has noise, and a finite derivative, at $t = 0$.
    """

    log_snr_min: ArrayLike = -10.0
    log_snr_max: ArrayLike = 10.0

    def __check_init__(self):
        _check_bounds("BoundedCosineVP", self.log_snr_min, self.log_snr_max)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        before, _, between = _angles(self, t.dtype)
        return jnp.sin(before + between * t)

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        before, _, between = _angles(self, value.dtype)
        return (jnp.arcsin(value) - before) / between

r"""The variance-preserving schedules: a signal that fades, and two noises for it.

`VP` and `SubVP` are noises for the signal `VPSignal`. Near $t = 0$ the noise is the
small difference of two numbers near 1, so it is computed from $\log \alpha_t$ with
`expm1`.
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_non_negative, concrete
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule


def _check_betas(owner: str, beta_min: ArrayLike, beta_max: ArrayLike) -> None:
    check_non_negative(owner, "beta_min", beta_min)
    low, high = concrete(beta_min), concrete(beta_max)
    if low is not None and high is not None and not low <= high > 0:
        raise ValueError(
            f"`{owner}` needs `beta_min` <= `beta_max` and `beta_max` > 0, got {low} "
            f"and {high}."
        )


def _log_signal(beta_min: ArrayLike, beta_max: ArrayLike, t: ScalarLike) -> Scalar:
    """Minus half the integral of beta from 0 to `t`."""
    t = jnp.asarray(t)
    low, high = jnp.asarray(beta_min, t.dtype), jnp.asarray(beta_max, t.dtype)
    return -0.25 * t**2 * (high - low) - 0.5 * t * low


def _time_of(beta_min: ArrayLike, beta_max: ArrayLike, log_signal: Scalar) -> Scalar:
    """Inverts `_log_signal`: the root of a quadratic, without cancellation."""
    low = jnp.asarray(beta_min, log_signal.dtype)
    high = jnp.asarray(beta_max, log_signal.dtype)
    root = jnp.sqrt(low**2 - 4 * (high - low) * log_signal)
    return -4 * log_signal / (low + root)


class VPSignal(AbstractSchedule):
    r"""$\alpha_t = \exp\big(-\frac14 t^2 (\beta_1 - \beta_0) - \frac12 t \beta_0\big)$.

    The signal of the variance-preserving SDE falls from 1. It is
    $\exp(-\frac12 \int_0^t \beta)$ with $\beta$ linear from $\beta_0$, `beta_min`, to
    $\beta_1$, `beta_max`, and serves as the level of [`softsde.corruptions.Scale`][].

    ??? cite "Reference"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021, Appendix B.
    """

    beta_min: ArrayLike = 0.1
    beta_max: ArrayLike = 20.0

    def __check_init__(self):
        _check_betas("VPSignal", self.beta_min, self.beta_max)

    def __call__(self, t: ScalarLike) -> Scalar:
        return jnp.exp(_log_signal(self.beta_min, self.beta_max, t))

    def inverse(self, value: ScalarLike) -> Scalar:
        return _time_of(self.beta_min, self.beta_max, jnp.log(value))


class VP(AbstractSchedule):
    r"""$\sigma_t = \sqrt{1 - \alpha_t^2}$: the noise of the variance-preserving SDE.

    It belongs to the signal [`softsde.schedules.VPSignal`][]; data of unit variance
    keeps that variance. Near $t = 0$ the noise is $\sqrt{\beta_0 t}$, whose derivative
    is infinite at 0, so a process must start a little later.
    """

    beta_min: ArrayLike = 0.1
    beta_max: ArrayLike = 20.0

    def __check_init__(self):
        _check_betas("VP", self.beta_min, self.beta_max)

    def __call__(self, t: ScalarLike) -> Scalar:
        return jnp.sqrt(-jnp.expm1(2 * _log_signal(self.beta_min, self.beta_max, t)))

    def inverse(self, value: ScalarLike) -> Scalar:
        log_signal = 0.5 * jnp.log1p(-(jnp.asarray(value) ** 2))
        return _time_of(self.beta_min, self.beta_max, log_signal)


class SubVP(AbstractSchedule):
    r"""$\sigma_t = 1 - \alpha_t^2$: the smaller noise of the sub-VP SDE.

    It belongs to the same signal, [`softsde.schedules.VPSignal`][]. Its *variance* is
    the square of that of [`softsde.schedules.VP`][].
    """

    beta_min: ArrayLike = 0.1
    beta_max: ArrayLike = 20.0

    def __check_init__(self):
        _check_betas("SubVP", self.beta_min, self.beta_max)

    def __call__(self, t: ScalarLike) -> Scalar:
        return -jnp.expm1(2 * _log_signal(self.beta_min, self.beta_max, t))

    def inverse(self, value: ScalarLike) -> Scalar:
        log_signal = 0.5 * jnp.log1p(-jnp.asarray(value))
        return _time_of(self.beta_min, self.beta_max, log_signal)

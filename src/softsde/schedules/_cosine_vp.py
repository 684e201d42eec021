r"""The variance-preserving schedules of Nichol and Dhariwal: a cosine signal.

With $a = \frac{t + s}{1 + s} \frac\pi2$ and $b$ its value at $t = 0$, the signal is
$\cos a / \cos b$, whose square is their $\bar\alpha$.
"""

import jax.numpy as jnp
from jaxtyping import ArrayLike

from .._checks import check_positive
from .._types import Scalar, ScalarLike
from ._base import AbstractSchedule

_QUARTER = 0.5 * jnp.pi


class CosineVPSignal(AbstractSchedule):
    r"""$\alpha_t = \cos\big(\frac{t + s}{1 + s} \frac\pi2\big) /
    \cos\big(\frac{s}{1 + s} \frac\pi2\big)$, which falls from 1 to 0.

    $s$ is `offset`, and $\alpha_t^2$ is the $\bar\alpha$ of the paper.

    ??? cite "Reference"

        Nichol and Dhariwal, *Improved Denoising Diffusion Probabilistic Models*, ICML
        2021, Eq. 17.
    """

    offset: ArrayLike = 0.008

    def __check_init__(self):
        check_positive("CosineVPSignal", "offset", self.offset)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        s = jnp.asarray(self.offset, t.dtype)
        # The sine of the complementary angle, which is exactly zero at t = 1.
        ahead = jnp.sin(_QUARTER * (1 - t) / (1 + s))
        return ahead / jnp.cos(_QUARTER * s / (1 + s))

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        s = jnp.asarray(self.offset, value.dtype)
        ahead = value * jnp.cos(_QUARTER * s / (1 + s))
        return 1 - (1 + s) / _QUARTER * jnp.arcsin(ahead)


class CosineVP(AbstractSchedule):
    r"""$\sigma_t = \sqrt{1 - \alpha_t^2}$: the noise of the cosine schedule.

    It belongs to the signal [`softsde.schedules.CosineVPSignal`][]. The derivative is
    infinite at $t = 0$, so a process must start a little later.
    """

    offset: ArrayLike = 0.008

    def __check_init__(self):
        check_positive("CosineVP", "offset", self.offset)

    def __call__(self, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        s = jnp.asarray(self.offset, t.dtype)
        # cos^2 b - cos^2 a = sin(a - b) sin(a + b), which does not cancel.
        gained = jnp.sin(_QUARTER * t / (1 + s)) * jnp.sin(
            _QUARTER * (t + 2 * s) / (1 + s)
        )
        return jnp.sqrt(gained) / jnp.cos(_QUARTER * s / (1 + s))

    def inverse(self, value: ScalarLike) -> Scalar:
        value = jnp.asarray(value)
        signal = jnp.sqrt((1 - value) * (1 + value))
        return CosineVPSignal(self.offset).inverse(signal)

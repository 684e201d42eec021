r"""Noise clocks: how much variance the reverse process injects, and when.

The reverse family runs its Brownian motion on a clock $\Lambda(s)$, non-decreasing in
the reversed time $s = t_1 - t$. Every clock leaves every marginal as it is; clocks
differ in the paths they draw and in how they forgive a denoiser's mistakes.
"""

import abc
from collections.abc import Callable
from typing import Literal, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process
from ..schedules import PiecewiseLinear


class AbstractNoiseClock(eqx.Module):
    r"""A non-decreasing $\Lambda(s)$ with $\Lambda(0) = 0$."""

    @abc.abstractmethod
    def __call__(self, s: ScalarLike) -> Scalar:
        r"""$\Lambda(s)$: the variance injected from the start up to `s`."""

    @abc.abstractmethod
    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Scalar:
        r"""$\Lambda(s_1) - \Lambda(s_0)$, without the rounding of the difference."""

    def rate(self, s: ScalarLike) -> Scalar:
        r"""$d\Lambda / ds$, the variance injected in a unit of reversed time."""
        s = jnp.asarray(s)
        return jax.jvp(self.__call__, (s,), (jnp.ones_like(s),))[1]


class FlowClock(AbstractNoiseClock):
    """No noise: the probability flow."""

    def __call__(self, s: ScalarLike) -> Scalar:
        return jnp.zeros_like(jnp.asarray(s))

    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Scalar:
        del s0
        return jnp.zeros_like(jnp.asarray(s1))


class PaperClock(AbstractNoiseClock):
    r"""$\Lambda(s) = \sigma^2(t_1) - \sigma^2(t_1 - s)$: the paper's (Eq. 14).

    It injects as much noise as the forward process added over the same stretch, so
    nothing where `sigma` is constant. With `forward=True` it is the clock of the
    forward SDE (Eq. 13), $\sigma^2(t_0 + s) - \sigma^2(t_0)$.
    """

    process: Process
    forward: bool = False

    def __call__(self, s: ScalarLike) -> Scalar:
        return self.increment(jnp.zeros_like(jnp.asarray(s)), s)

    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Scalar:
        s0, s1 = jnp.asarray(s0), jnp.asarray(s1)
        if self.forward:
            less = self.process.sigma(self.process.t0 + s0)
            more = self.process.sigma(self.process.t0 + s1)
        else:
            more = self.process.sigma(self.process.t1 - s0)
            less = self.process.sigma(self.process.t1 - s1)
        return (more - less) * (more + less)


class ChurnClock(AbstractNoiseClock):
    r"""The paper's clock and more noise on top, also while `sigma` rests.

    $d\Lambda = -d(\sigma^2) + c\, \sigma_t^2\, ds$: in a unit of time the noise in
    the sample is renewed about $c / 2$ times. It changes no marginal. It lets the
    sampler forget the mistakes that a network made earlier, where the paper's own is
    deterministic (the blur phase, in which `sigma` is constant) and carries them to the
    end: with a trained network it is what cleans the texture. Keep $c$ below the number
    of steps, or the noise is renewed faster than a step can follow.

    !!! example

        ```python
        clock = ss.terms.ChurnClock(process, 20.0)
        ss.sample(process, denoiser, x1=xs, noise_clock=clock, num_steps=40, key=key)
        ```
    """

    paper: PaperClock
    extra: PiecewiseLinear

    def __init__(self, process: Process, churn: float, *, points: int = 257):
        """**Arguments:**

        - `process`: whose noise it is.
        - `churn`: `c`, at least 0.
        - `points`: of the table of the integral of sigma squared. Any non-decreasing
            clock is exact, so the table's error does no harm.
        """
        if not churn >= 0:
            raise ValueError(f"`ChurnClock` got `churn={churn}`; expected at least 0.")
        s = jnp.linspace(0.0, process.t1 - process.t0, points)
        variance = jax.vmap(lambda v: process.sigma(process.t1 - v) ** 2)(s)
        means = 0.5 * (variance[1:] + variance[:-1]) * jnp.diff(s)
        total = jnp.concatenate([jnp.zeros(1, s.dtype), jnp.cumsum(means)])
        self.paper = PaperClock(process)
        self.extra = PiecewiseLinear(s, churn * total)

    def __call__(self, s: ScalarLike) -> Scalar:
        return self.paper(s) + self.extra(s)

    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Scalar:
        return self.paper.increment(s0, s1) + self.extra(s1) - self.extra(s0)


class CustomClock(AbstractNoiseClock):
    r"""A callable $\Lambda(s)$ of one's own, non-decreasing in the reversed clock."""

    function: Callable[[ScalarLike], Scalar]

    def __call__(self, s: ScalarLike) -> Scalar:
        s = jnp.asarray(s)
        return self.function(s) - self.function(jnp.zeros_like(s))

    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Scalar:
        gained = self.function(jnp.asarray(s1)) - self.function(jnp.asarray(s0))
        return _not_negative(gained)

    def rate(self, s: ScalarLike) -> Scalar:
        s = jnp.asarray(s)
        return _not_negative(jax.jvp(self.function, (s,), (jnp.ones_like(s),))[1])


def _not_negative(gained: Scalar) -> Scalar:
    return eqx.error_if(
        gained,
        gained < 0,
        "The noise clock decreases: `noise_clock` must be a non-decreasing "
        "function of the reversed clock s = t1 - t (the variance injected so far).",
    )


NoiseClock: TypeAlias = Literal["paper", "flow"] | Callable[[ScalarLike], Scalar]


def make_clock(
    noise_clock: NoiseClock, process: Process, *, forward: bool = False
) -> AbstractNoiseClock:
    """The clock that a user's `noise_clock` names.

    **Raises:** `ValueError` for an unknown name.
    """
    if isinstance(noise_clock, AbstractNoiseClock):
        return noise_clock
    if callable(noise_clock):
        return CustomClock(noise_clock)
    if noise_clock == "paper":
        return PaperClock(process, forward)
    if noise_clock == "flow":
        return FlowClock()
    raise ValueError(
        f"Unknown `noise_clock` {noise_clock!r}; expected 'paper' (the reverse SDE of "
        "Eq. 14), 'flow' (the probability flow), or a non-decreasing callable of the "
        "reversed clock."
    )

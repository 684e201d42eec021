r"""The family in normalised form: its linear part solved exactly.

For any noise clock, with $\tilde\sigma = \sigma\, e^{-\frac12 \int d\Lambda /
\sigma^2}$,

$$d\big(x / \tilde\sigma\big) = d\big(C / \tilde\sigma\big) \cdot D +
dB(\Lambda) / \tilde\sigma.$$

So while $D$ is held, a step keeps the share $\tilde\sigma' / \tilde\sigma$ of the
residual and draws the rest of the noise anew. It is derived in
`docs/formalism.md`, "The normalised form".
"""

from typing import NamedTuple

import jax.numpy as jnp

from .._types import DenoiserFn, Sample, Scalar, ScalarLike
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._form import AbstractForm


class NormalisedField(NamedTuple):
    """What the control multiplies: the posterior mean, seen from a state."""

    x0_hat: Sample
    state: Sample


class NormalisedControl(NamedTuple):
    """What a step in normalised form contributes."""

    t_from: Scalar
    t_to: Scalar
    #: The share of the residual `x - C D` that is kept.
    kept: Scalar
    noise: Sample | None


class NormalisedForm(AbstractForm):
    r"""The family as a diffrax term that moves $x / \tilde\sigma$ by $d(C /
    \tilde\sigma) D$.

    The state stays $x$: a step is $x' = C' D + a\, (x - C D) + b\, \xi$, exact while
    $D$ is held. Euler's method on it is the DDIM-type sampler (Eq. 52 with $k = 0$),
    and Heun's a sampler of second order.
    """

    process: Process
    denoiser: DenoiserFn
    brownian: ClockedBrownianPath | None
    forward: bool = False

    def vf(self, t: ScalarLike, y: Sample, args) -> NormalisedField:
        """The posterior mean at the term's time `t`: one evaluation."""
        del args
        return NormalisedField(self.predict(t, y), y)

    def contr(self, t0: ScalarLike, t1: ScalarLike, **kwargs) -> NormalisedControl:
        """The control over the step from the term's time `t0` to `t1`."""
        del kwargs
        return normalised_control(self, t0, t1)

    def prod(self, vf: NormalisedField, control: NormalisedControl) -> Sample:
        """The increment of the state."""
        return normalised_step(self, control, vf.state, vf.x0_hat) - vf.state

    def between(self, start: NormalisedField, end: NormalisedField) -> NormalisedField:
        """The mean of the two predictions, seen from the start of the step."""
        return NormalisedField(0.5 * (start.x0_hat + end.x0_hat), start.state)


def normalised_control(
    form: AbstractForm, s0: ScalarLike, s1: ScalarLike
) -> NormalisedControl:
    """The control of a term, read in normalised form, over the step `s0` to `s1`."""
    process = form.process
    t_from, t_to = form.time(s0), form.time(s1)
    before, after = process.sigma(t_from), process.sigma(t_to)
    ratio = noise_ratio(before, after)
    driving = form.driving
    if driving is None:
        return NormalisedControl(t_from, t_to, ratio, None)
    injected = driving.clock.increment(s0, s1)
    # While nothing is injected there is nothing to renew.
    running = (before > 0) & (injected > 0)
    # The integral of dLambda / sigma^2, by the logarithmic mean of the two ends: exact
    # when the clock runs in proportion to sigma^2 (the paper's) or while sigma rests;
    # elsewhere it is another clock, which is as exact.
    mean = jnp.where(running, _logarithmic_mean(before, after), 1)
    renewed = jnp.where(running, injected / mean, 0)
    fresh = after * jnp.sqrt(-jnp.expm1(-jnp.where(running, renewed, 1)))
    scale = jnp.where(running, fresh / jnp.sqrt(jnp.where(running, injected, 1)), 0)
    increment = driving.increment(s0, s1)
    noise = scale.astype(increment.dtype) * increment
    return NormalisedControl(t_from, t_to, ratio * jnp.exp(-0.5 * renewed), noise)


def noise_ratio(before: Scalar, after: Scalar) -> Scalar:
    """`after / before`; without noise 1, so that all of the residual is kept: the
    sampler of Cold Diffusion."""
    noisy = before > 0
    return jnp.where(noisy, after / jnp.where(noisy, before, 1), 1)


def _logarithmic_mean(before: Scalar, after: Scalar) -> Scalar:
    """Of the squares: (a^2 - b^2) / (2 log(a / b)), and a^2 where they are equal."""
    gap = jnp.log(before / after)
    small = jnp.abs(gap) < 1e-3
    safe = jnp.where(small, 1, gap)
    stretch = jnp.where(small, 1 + gap**2 / 6, jnp.sinh(safe) / safe)
    return before * after * stretch


def normalised_step(
    form: AbstractForm, control: NormalisedControl, x: Sample, x0_hat: Sample
) -> Sample:
    r"""$C' D + a\,(x - C D) + b\,\xi$: the state after the step."""
    process = form.process
    residual = x - process.apply(control.t_from, x0_hat)
    moved = process.apply(control.t_to, x0_hat)
    x = moved + control.kept.astype(x.dtype) * residual
    return x if control.noise is None else x + control.noise

r"""The reverse family in normalised form: its linear part solved exactly.

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

from .._types import Sample, Scalar, ScalarLike
from ._control import ReverseControlTerm


class NormalisedControl(NamedTuple):
    """What a step in normalised form contributes."""

    t_from: Scalar
    t_to: Scalar
    #: The share of the residual `x - C D` that is kept.
    kept: Scalar
    noise: Sample | None


def normalised_control(
    term: ReverseControlTerm, s0: ScalarLike, s1: ScalarLike
) -> NormalisedControl:
    """The control of `term` in normalised form, over the step from `s0` to `s1`."""
    process = term.process
    t_from, t_to = process.t1 - jnp.asarray(s0), process.t1 - jnp.asarray(s1)
    before, after = process.sigma(t_from), process.sigma(t_to)
    ratio = after / before
    driving = term.driving
    if driving is None:
        return NormalisedControl(t_from, t_to, ratio, None)
    injected = driving.clock.increment(s0, s1)
    # The integral of dLambda / sigma^2, by the logarithmic mean of the two ends: exact
    # when the clock runs in proportion to sigma^2 (the paper's) or while sigma rests;
    # elsewhere it is another clock, which is as exact.
    renewed = injected / _logarithmic_mean(before, after)
    # While nothing is injected there is nothing to scale.
    running = injected > 0
    fresh = after * jnp.sqrt(-jnp.expm1(-jnp.where(running, renewed, 1)))
    scale = jnp.where(running, fresh / jnp.sqrt(jnp.where(running, injected, 1)), 0)
    increment = driving.increment(s0, s1)
    noise = scale.astype(increment.dtype) * increment
    return NormalisedControl(t_from, t_to, ratio * jnp.exp(-0.5 * renewed), noise)


def _logarithmic_mean(before: Scalar, after: Scalar) -> Scalar:
    """Of the squares: (a^2 - b^2) / (2 log(a / b)), and a^2 where they are equal."""
    gap = jnp.log(before / after)
    small = jnp.abs(gap) < 1e-3
    safe = jnp.where(small, 1, gap)
    stretch = jnp.where(small, 1 + gap**2 / 6, jnp.sinh(safe) / safe)
    return before * after * stretch


def normalised_step(
    term: ReverseControlTerm, control: NormalisedControl, x: Sample, x0_hat: Sample
) -> Sample:
    r"""$C' D + a\,(x - C D) + b\,\xi$: the state after the step."""
    process = term.process
    residual = x - process.apply(control.t_from, x0_hat)
    moved = process.apply(control.t_to, x0_hat)
    x = moved + control.kept.astype(x.dtype) * residual
    return x if control.noise is None else x + control.noise

r"""Brownian motion on a noise clock: $B(\Lambda(s))$.

Two kinds of path are wrapped. One that hands out an independent normal for each step
(`UnsafeBrownianPath`) is rescaled step by step, which is exact in law and free of the
rounding that differences of a large clock would bring. One that knows its values at all
times (`VirtualBrownianTree`) is read at the clock's times, so that two step sizes see
the same path, as strong convergence needs.
"""

import functools

import diffrax
import equinox as eqx
import jax.numpy as jnp

from .._types import Sample, ScalarLike
from ._clock import AbstractNoiseClock


class ClockedBrownianPath(eqx.Module):
    r"""The increments $B(\Lambda(s_1)) - B(\Lambda(s_0))$ of a path on a clock."""

    path: diffrax.AbstractBrownianPath
    clock: AbstractNoiseClock

    def increment(self, s0: ScalarLike, s1: ScalarLike) -> Sample:
        """The increment over a step, shaped like the path."""
        return _increment(self.path, self.clock, s0, s1)

    def normal(self, s0: ScalarLike, s1: ScalarLike) -> Sample:
        """The path's own increment over a step, whatever the clock, scaled to be a
        standard normal: for samplers that say themselves how much noise they want."""
        s0, s1 = jnp.asarray(s0), jnp.asarray(s1)
        drawn = jnp.asarray(self.path.evaluate(s0, s1))
        return drawn / jnp.sqrt(s1 - s0).astype(drawn.dtype)


@functools.singledispatch
def _increment(path, clock, s0, s1):
    return path.evaluate(clock(s0), clock(s1))


@_increment.register(diffrax.UnsafeBrownianPath)
def rescaled_increment(path, clock, s0, s1):
    """For paths that know increments only."""
    s0, s1 = jnp.asarray(s0), jnp.asarray(s1)
    spread = jnp.sqrt(clock.increment(s0, s1) / (s1 - s0))
    drawn = jnp.asarray(path.evaluate(s0, s1))
    return spread.astype(drawn.dtype) * drawn

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
import jax
import jax.numpy as jnp
from jaxtyping import ArrayLike, Int

from .._types import Key, Sample, ScalarLike
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

    def fresh(
        self, s0: ScalarLike, s1: ScalarLike, index: Int[ArrayLike, ""] = 0
    ) -> Sample:
        """A standard normal that belongs to a step and that the path does not use.

        For what a solver draws beyond the increment that drives it, such as the noise
        of a corrector: independent of every increment, of every other step, and for
        each `index` of every other.

        **Arguments:**

        - `s0`, `s1`: the step.
        - `index`: which of the step's normals; any number may be asked for.

        **Raises:** `TypeError` for a path that has no key to draw from.
        """
        return fresh_normal(self.path, s0, s1, index)

    def fresh_key(self, s0: ScalarLike, s1: ScalarLike) -> Key:
        """A key that belongs to a step, for draws other than those of `fresh`.

        **Raises:** `TypeError` for a path that has no key to draw from.
        """
        return _step_key(_key_of(self.path), _OTHER, s0, s1)


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


# What separates three uses of one key: the path's own, the normals and the rest.
_NORMALS, _OTHER = 0x6E6F726D, 0x6F746872


@functools.singledispatch
def fresh_normal(path, s0, s1, index):
    """A standard normal of the step from `s0` to `s1`, shaped like the path."""
    key = jax.random.fold_in(_step_key(_key_of(path), _NORMALS, s0, s1), index)
    return jax.random.normal(key, path.shape.shape, path.shape.dtype)


def _step_key(key: Key, purpose: int, s0: ScalarLike, s1: ScalarLike) -> Key:
    key = jax.random.fold_in(key, purpose)
    for end in (s0, s1):
        end = jnp.asarray(end).astype(jnp.float32)
        key = jax.random.fold_in(key, jax.lax.bitcast_convert_type(end, jnp.uint32))
    return key


@functools.singledispatch
def _key_of(path) -> Key:
    raise TypeError(
        f"This solver draws noise of its own, and a `{type(path).__name__}` has no key "
        "to draw it from. Use `diffrax.UnsafeBrownianPath` or "
        "`diffrax.VirtualBrownianTree`, or let `softsde.reverse_sde(process, "
        "denoiser, shape=shape, key=key)` make one."
    )


@_key_of.register(diffrax.UnsafeBrownianPath)
@_key_of.register(diffrax.VirtualBrownianTree)
def _(path) -> Key:
    return path.key

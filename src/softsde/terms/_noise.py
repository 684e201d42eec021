r"""The noise of the family: a diffusion that depends on time only, and its path.

The path is Brownian motion in the term's own time `s`, the same for every solver and
every clock. A step of the library's solvers scales its increment by
$\sqrt{\Delta\Lambda / \Delta s}$, so that it injects exactly the variance of the clock.
"""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..clocks import AbstractClock
from ..processes import Process
from ._drift import process_time

LevyArea = type[
    diffrax.BrownianIncrement
    | diffrax.SpaceTimeLevyArea
    | diffrax.SpaceTimeTimeLevyArea
]


class InjectedNoise(eqx.Module):
    r"""The diffusion $\sqrt{\dot\Lambda}\, I$, as a lineax operator on one sample."""

    process: Process
    clock: AbstractClock
    forward: bool = eqx.field(static=True)

    def __call__(
        self, s: ScalarLike, y: Sample, args: Condition
    ) -> lx.DiagonalLinearOperator:
        del args
        time = process_time(self.process, jnp.asarray(s, y.dtype), self.forward)
        rate = self.clock.rate(self.process, time)
        # Where nothing is injected the root has no derivative, which solvers that
        # differentiate the diffusion in time would turn into NaN.
        running = rate > 0
        root = jnp.where(running, jnp.sqrt(jnp.where(running, rate, 1)), 0)
        # Solvers for additive noise ask for an operator that plainly does not depend
        # on `y`, with what depends on time in its leaves.
        return lx.DiagonalLinearOperator(
            jnp.full(y.shape, self.process.sigma(time) * root)
        )


class StepNoise(diffrax.AbstractBrownianPath):
    """Fresh noise for each step, drawn by the process: for steps that are known.

    As `diffrax.UnsafeBrownianPath`, with `Process.draw_noise` for the draw. A step that
    was rejected would be drawn anew, so it serves fixed steps only, which diffrax
    checks.
    """

    process: Process
    # diffrax recognises by this field that steps must not adapt.
    unsafe: diffrax.UnsafeBrownianPath
    levy_area: LevyArea = eqx.field(static=True)

    def __init__(
        self,
        process: Process,
        shape: tuple[int, ...] | jax.ShapeDtypeStruct,
        key: Key,
        levy_area: LevyArea = diffrax.BrownianIncrement,
    ):
        """**Arguments:**

        - `process`: that draws.
        - `shape`: of one sample.
        - `key`: of all steps.
        - `levy_area`: what a solver wants to know of a step beside its increment, as in
            diffrax.
        """
        self.process = process
        self.unsafe = diffrax.UnsafeBrownianPath(shape, key, levy_area)
        self.levy_area = levy_area

    @property
    def t0(self):
        return self.unsafe.t0

    @property
    def t1(self):
        return self.unsafe.t1

    @property
    def key(self) -> Key:
        """The key of all steps."""
        return self.unsafe.key

    @property
    def shape(self) -> Any:
        """Shape and dtype of one sample."""
        return self.unsafe.shape

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        """The increment over a step, and its Levy areas if they are wanted."""
        del left
        if t1 is None:
            t0, t1 = jnp.zeros_like(jnp.asarray(t0)), t0
        dtype = self.shape.dtype
        length = (jnp.asarray(t1) - jnp.asarray(t0)).astype(dtype)
        key, like = step_key(self.key, 0, t0, t1), jnp.zeros(self.shape.shape, dtype)
        # The variances of Brownian motion and of its first two Levy areas.
        scales = {
            diffrax.BrownianIncrement: (1,),
            diffrax.SpaceTimeLevyArea: (1, 12),
            diffrax.SpaceTimeTimeLevyArea: (1, 12, 720),
        }[self.levy_area]
        draws = [
            self.process.draw_noise(jax.random.fold_in(key, i), like)
            * jnp.sqrt(length / scale)
            for i, scale in enumerate(scales)
        ]
        if not use_levy:
            return draws[0]
        return self.levy_area(length, *draws)


def step_key(key: Key, purpose: int, s0: ScalarLike, s1: ScalarLike) -> Key:
    """A key that belongs to a step, for one purpose."""
    key = jax.random.fold_in(key, purpose)
    for end in (s0, s1):
        end = jnp.asarray(end).astype(jnp.float32)
        key = jax.random.fold_in(key, jax.lax.bitcast_convert_type(end, jnp.uint32))
    return key


def unit_increment(
    path: diffrax.AbstractBrownianPath, s0: ScalarLike, s1: ScalarLike
) -> Sample:
    """The path's increment over a step, scaled to be a standard normal."""
    s0, s1 = jnp.asarray(s0), jnp.asarray(s1)
    drawn = jnp.asarray(path.evaluate(s0, s1))
    return drawn / jnp.sqrt(s1 - s0).astype(drawn.dtype)


def tree_tolerance(process: Process, clock: AbstractClock, span: ScalarLike) -> Scalar:
    r"""The tolerance of a Brownian tree in `s` for steps that adapt.

    Adaptive steps follow $\log \sigma$ and the clock, so the tree resolves a small
    share of the shortest time in which either changes by 1.
    """
    times = jnp.linspace(process.t0, process.t1, 65)
    rates = jax.vmap(lambda t: clock.rate(process, t))(times)
    slopes = jnp.abs(jax.vmap(process.log_sigma_derivative)(times))
    fastest = jnp.maximum(jnp.max(rates), jnp.max(slopes))
    return jnp.asarray(span) * 2.0**-14 / jnp.maximum(1.0, jnp.asarray(span) * fastest)

r"""The family in control form: driven by increments, not by derivatives.

For any noise clock $\Lambda$,

$$dx = dC \cdot D - \tfrac12\, d(\sigma^2)\, \nabla\log q + \tfrac12\, d\Lambda\,
\nabla\log q + dB(\Lambda), \qquad D = E[x_0 | x_t],$$

where $dC$ and $d(\sigma^2)$ are taken along the path, back in time or forward. It asks
for $C_t$ only at the ends of a step, so it is right for operators that jump (masks).
$\Lambda = 0$ is the probability flow; back in time, $d\Lambda = -d(\sigma^2)$ is the
paper's reverse SDE (Eq. 14), and forward, $d\Lambda = d(\sigma^2)$ is its forward SDE
(Eq. 13), in which the score cancels.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from .._types import DenoiserFn, Sample, Scalar, ScalarLike
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._form import AbstractForm
from ._score import score_or_zero


class ControlField(NamedTuple):
    """What the control multiplies: the posterior mean and the score at one point."""

    x0_hat: Sample
    score: Sample


class Control(NamedTuple):
    """What a step contributes: the ends of the paths, and the noise."""

    t_from: Scalar
    t_to: Scalar
    score_weight: Scalar
    noise: Sample | None


class ControlForm(AbstractForm):
    r"""The family as a diffrax term whose control is the paths $C$, $\sigma^2$,
    $\Lambda$ and $B(\Lambda)$.

    Euler's method on it is the Momentum Sampler (Eq. 17, 51), and Heun's is one of
    second order.
    """

    process: Process
    denoiser: DenoiserFn
    brownian: ClockedBrownianPath | None
    forward: bool = False

    def vf(self, t: ScalarLike, y: Sample, args) -> ControlField:
        """The posterior mean and the score at the term's time `t`: one evaluation."""
        del args
        x0_hat = self.predict(t, y)
        time = self.time(jnp.asarray(t, y.dtype))
        return ControlField(x0_hat, score_or_zero(self.process, time, y, x0_hat))

    def contr(self, t0: ScalarLike, t1: ScalarLike, **kwargs) -> Control:
        """The control over the step from the term's time `t0` to `t1`."""
        del kwargs
        t_from, t_to = self.time(t0), self.time(t1)
        before, after = self.process.sigma(t_from), self.process.sigma(t_to)
        weight = 0.5 * (before - after) * (before + after)
        driving = self.driving
        if driving is None:
            return Control(t_from, t_to, weight, None)
        injected = driving.clock.increment(t0, t1)
        noise = driving.increment(t0, t1)
        return Control(t_from, t_to, weight + 0.5 * injected, noise)

    def prod(self, vf: ControlField, control: Control) -> Sample:
        """The increment of the state."""
        moved = self.process.apply(control.t_to, vf.x0_hat) - self.process.apply(
            control.t_from, vf.x0_hat
        )
        step = moved + control.score_weight.astype(moved.dtype) * vf.score
        return step if control.noise is None else step + control.noise

    def between(self, start: ControlField, end: ControlField) -> ControlField:
        """The mean of the two: the trapezoidal rule."""
        return jax.tree.map(lambda a, b: 0.5 * (a + b), start, end)

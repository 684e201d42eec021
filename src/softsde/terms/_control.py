r"""The reverse family in control form: driven by increments, not by derivatives.

In the reversed clock, for any noise clock $\Lambda$,

$$dx = dC \cdot D - \tfrac12\, d(\sigma^2)\, \nabla\log q + \tfrac12\, d\Lambda\,
\nabla\log q + dB(\Lambda), \qquad D = E[x_0 | x_t],$$

where $dC$ and $d(\sigma^2)$ are taken along the reversed path. It asks for $C_t$ only
at the ends of a step, so it is right for operators that jump (masks). $\Lambda = 0$ is
the probability flow; $d\Lambda = -d(\sigma^2)$ is the paper's reverse SDE (Eq. 14).
"""

from typing import NamedTuple

import diffrax
import jax.numpy as jnp

# diffrax hands solvers this wrapper of the term, and does not export it.
from diffrax._term import WrapTerm

from .._types import DenoiserFn, Sample, Scalar, ScalarLike
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._clock import FlowClock


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


class ReverseControlTerm(diffrax.AbstractTerm):
    r"""The reverse SDE family and the probability flow as one diffrax term.

    Integrate it forwards in $s = t_1 - t$, from 0 to `t1 - t0`. Made by
    [`softsde.reverse_sde`][] and [`softsde.probability_flow`][].
    """

    process: Process
    denoiser: DenoiserFn
    #: `None` where nothing is drawn. On a clock that rests there may still be a path,
    #: for solvers that draw noise of their own.
    brownian: ClockedBrownianPath | None

    @property
    def driving(self) -> ClockedBrownianPath | None:
        """The path that drives the equation: `None` for the probability flow."""
        if self.brownian is None or isinstance(self.brownian.clock, FlowClock):
            return None
        return self.brownian

    def vf(self, t: ScalarLike, y: Sample, args) -> ControlField:
        """The posterior mean and the score at reversed time `t`: one evaluation."""
        del args
        time = self.process.t1 - jnp.asarray(t, y.dtype)
        x0_hat = self.denoiser(time, y)
        return ControlField(x0_hat, self.process.score(time, y, x0_hat))

    def contr(self, t0: ScalarLike, t1: ScalarLike, **kwargs) -> Control:
        """The control over the step from reversed time `t0` to `t1`."""
        del kwargs
        t_from = self.process.t1 - jnp.asarray(t0)
        t_to = self.process.t1 - jnp.asarray(t1)
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


def control_term(owner: str, term: object) -> ReverseControlTerm:
    """The term in control form that a solver was given, out of diffrax's wrapper.

    **Raises:** `TypeError` for a term in another form.
    """
    if isinstance(term, WrapTerm):
        term = term.term
    if not isinstance(term, ReverseControlTerm):
        raise TypeError(
            f"`{owner}` steps a term in control form, got {type(term).__name__}. "
            "Make one with `softsde.reverse_sde(process, denoiser, key=key, "
            "shape=shape)` or `softsde.probability_flow(process, denoiser)`."
        )
    return term

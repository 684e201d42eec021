r"""The family in derivative form: vector fields, for solvers that need them.

In the reversed clock, with $\dot\Lambda = d\Lambda / ds$ and $u = \dot C_t D - \tfrac12
\tfrac{d\sigma_t^2}{dt} \nabla\log q_t$ the velocity of the probability flow,

$$dx = \big(-u + \tfrac12 \dot\Lambda\, \nabla\log q_t\big)\, ds + \sqrt{\dot\Lambda}\,
dW(s),$$

and with $+u$ forward in time. The operator's derivative is a Jacobian-vector product.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import lineax as lx

from .._types import DenoiserFn, Sample, Scalar, ScalarLike
from ..processes import Process
from ._clock import AbstractNoiseClock
from ._form import not_backwards, process_time
from ._score import score_or_zero


class FamilyDrift(eqx.Module):
    """The vector field of the family: one evaluation of the denoiser."""

    process: Process
    denoiser: DenoiserFn
    #: `None` for the probability flow.
    clock: AbstractNoiseClock | None
    forward: bool

    def __call__(self, s: ScalarLike, y: Sample, args) -> Sample:
        del args
        process = self.process
        s = jnp.asarray(s, y.dtype)
        t = process_time(process, s, forward=self.forward)
        x0_hat = self.denoiser(t, y)
        moved, grown = process.apply_dot(t, x0_hat), process.variance_derivative(t)
        if not self.forward:
            moved, grown = -moved, -grown
        injected = jnp.zeros_like(s) if self.clock is None else self.clock.rate(s)
        score = score_or_zero(process, t, y, x0_hat)
        return moved + 0.5 * (injected - grown).astype(y.dtype) * score


class SDEDrift(diffrax.AbstractTerm):
    """The drift beside a diffusion: as `diffrax.ODETerm`, and it refuses to run back.

    A flow can be integrated from either end. An SDE cannot: its noise would have to be
    known in advance. (diffrax's stochastic Runge-Kutta methods go wrong there without
    asking any term, so for them nothing can be said here.)
    """

    vector_field: FamilyDrift

    def vf(self, t: ScalarLike, y: Sample, args) -> Sample:
        return self.vector_field(t, y, args)

    def contr(self, t0: ScalarLike, t1: ScalarLike, **kwargs) -> Scalar:
        del kwargs
        return jnp.asarray(t1) - jnp.asarray(t0)

    def prod(self, vf: Sample, control: ScalarLike) -> Sample:
        control = jnp.asarray(control)
        return not_backwards(control, control >= 0).astype(vf.dtype) * vf


class InjectedNoise(eqx.Module):
    r"""The diffusion $\sqrt{\dot\Lambda}\, I$, as a lineax operator on one sample."""

    clock: AbstractNoiseClock

    def __call__(self, s: ScalarLike, y: Sample, args) -> lx.DiagonalLinearOperator:
        del args
        rate = self.clock.rate(jnp.asarray(s, y.dtype))
        # At rest the root has no derivative, which solvers that differentiate the
        # diffusion in time would turn into NaN.
        running = rate > 0
        root = jnp.where(running, jnp.sqrt(jnp.where(running, rate, 1)), 0)
        # Solvers for additive noise ask for an operator that plainly does not depend
        # on `y`, with what depends on time in its leaves.
        return lx.DiagonalLinearOperator(jnp.full(y.shape, root))


def derivative_term(
    process: Process,
    denoiser: DenoiserFn,
    clock: AbstractNoiseClock | None,
    path: diffrax.AbstractBrownianPath | None,
    *,
    forward: bool = False,
) -> diffrax.ODETerm | diffrax.MultiTerm:
    """An `ODETerm`, or with noise a `MultiTerm` of drift and diffusion.

    **Raises:** `ValueError` for a corruption that is known to jump.
    """
    if process.corruption.structure.differentiable is False:
        raise ValueError(
            f"`{type(process.corruption).__name__}` jumps as its level grows, so "
            "`form='derivative'` would miss all that it does. Use `form='control'`, "
            "which `softsde.Momentum()`, `HeunMomentum()` and `Multistep()` step, or a "
            "corruption that moves smoothly, such as `SoftMask` for masks."
        )
    drift = FamilyDrift(process, denoiser, clock, forward)
    if clock is None or path is None:
        return diffrax.ODETerm(drift)
    noise = diffrax.ControlTerm(InjectedNoise(clock), path)
    return diffrax.MultiTerm(SDEDrift(drift), noise)

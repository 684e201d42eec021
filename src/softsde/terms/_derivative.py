r"""The reverse family in derivative form: vector fields, for solvers that need them.

In the reversed clock, with $\dot\Lambda = d\Lambda / ds$,

$$dx = \big(-\dot C_t D + \tfrac12 (\tfrac{d\sigma_t^2}{dt} + \dot\Lambda)\,
\nabla\log q_t\big)\, ds + \sqrt{\dot\Lambda}\, dW(s).$$

The operator's derivative is a Jacobian-vector product in time.
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import lineax as lx

from .._types import DenoiserFn, Sample, ScalarLike
from ..processes import Process
from ._clock import AbstractNoiseClock


class ReverseDrift(eqx.Module):
    """The vector field of the reverse family: one evaluation of the denoiser."""

    process: Process
    denoiser: DenoiserFn
    #: `None` for the probability flow.
    clock: AbstractNoiseClock | None

    def __call__(self, s: ScalarLike, y: Sample, args) -> Sample:
        del args
        s = jnp.asarray(s, y.dtype)
        t = self.process.t1 - s
        x0_hat = self.denoiser(t, y)
        spread = self.process.variance_derivative(t)
        if self.clock is not None:
            spread = spread + self.clock.rate(s)
        score = self.process.score(t, y, x0_hat)
        return 0.5 * spread * score - self.process.apply_dot(t, x0_hat)


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
    drift = diffrax.ODETerm(ReverseDrift(process, denoiser, clock))
    if clock is None or path is None:
        return drift
    return diffrax.MultiTerm(drift, diffrax.ControlTerm(InjectedNoise(clock), path))

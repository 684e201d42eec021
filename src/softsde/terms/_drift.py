r"""The drift of the family: a vector field in the term's own time.

With $u = \dot C_t D - \tfrac12 \tfrac{d\sigma_t^2}{dt} \nabla\log q_t$ the velocity of
the probability flow and $\dot\Lambda$ the variance that the clock injects in a unit of
time, back in time ($s = t_1 - t$) and forward ($s = t - t_0$)

$$dx = \big(\mp u + \tfrac12 \dot\Lambda\, \nabla\log q_t\big)\, ds +
\sqrt{\dot\Lambda}\, dW(s).$$
"""

import diffrax
import equinox as eqx
import jax.numpy as jnp

from .._types import Condition, Sample, Scalar, ScalarLike
from ..clocks import AbstractClock
from ..denoisers import AbstractDenoiser
from ..processes import Process


class Drift(diffrax.AbstractTerm):
    """The drift of a reverse SDE, a forward SDE or a probability flow.

    Solvers of diffrax see the vector field. The solvers of this library read the
    denoiser, its process and the clock from it, and need no derivative of $C_t$.
    """

    denoiser: AbstractDenoiser
    clock: AbstractClock
    #: Whether the term's own time `s` runs from the data to the corruption.
    forward: bool = eqx.field(static=True, default=False)
    #: Whether noise is drawn beside it, so that it can only be followed forwards in
    #: `s`.
    stochastic: bool = eqx.field(static=True, default=False)
    #: Whether it is known already that the corruption does not jump.
    smooth: bool = eqx.field(static=True, default=False)

    @property
    def process(self) -> Process:
        """The process whose marginals it keeps."""
        return self.denoiser.process

    def time(self, s: ScalarLike) -> Scalar:
        """The time of the process when the term's own is `s`."""
        return process_time(self.process, s, self.forward)

    def vf(self, t: ScalarLike, y: Sample, args: Condition) -> Sample:
        """The vector field at the term's time `t`: one evaluation of the denoiser."""
        process, time = self.process, self.time(jnp.asarray(t, y.dtype))
        corruption = process.corruption
        if corruption.structure.differentiable is False:
            # diffrax evaluates the type of `vf` for every solver, also for those of the
            # library, which may step a jump. So this is an error only where it runs.
            return eqx.error_if(
                jnp.zeros_like(y),
                jnp.any(y == y) | True,
                f"`{type(corruption).__name__}` jumps as its level grows, so its "
                "probability flow has no vector field. Use a solver of softsde, such "
                "as `Momentum()`, which steps from operator to operator.",
            )
        x0_hat = self.denoiser(time, y, args)
        # Both scores come with a variance, which leaves C_t D - x: no division.
        gap = process.apply(time, x0_hat) - y
        velocity = process.apply_dot(time, x0_hat)
        velocity = velocity - process.log_sigma_derivative(time) * gap  # u, Eq. 19, 49
        injected = 0.5 * self.clock.rate(process, time) * gap
        return injected + (velocity if self.forward else -velocity)

    def contr(self, t0: ScalarLike, t1: ScalarLike, **kwargs) -> Scalar:
        """The length of a step."""
        del kwargs
        return jnp.asarray(t1) - jnp.asarray(t0)

    def prod(self, vf: Sample, control: ScalarLike) -> Sample:
        """Vector field times length."""
        control = jnp.asarray(control)
        if not self.smooth:
            # Not in `vf`, see there; the solvers of the library take no product.
            vf = self.process.guard_smooth("A vector-field solver", vf)
        if self.stochastic:
            # (diffrax's stochastic Runge-Kutta methods go wrong there without asking
            # any term, so for them nothing can be said here.)
            control = not_backwards(control, control >= 0)
        return control.astype(vf.dtype) * vf


def process_time(process: Process, s: ScalarLike, forward: bool) -> Scalar:
    """The time of the process at `s` of a term, which starts at 0."""
    s = jnp.asarray(s)
    return process.t0 + s if forward else process.t1 - s


def not_backwards(value: Scalar, forwards) -> Scalar:
    """`value`, with an error unless `forwards`."""
    return eqx.error_if(
        value,
        ~forwards,
        "Integrated from a later time to an earlier. The terms of softsde run forwards "
        "in their own time: use `t0=0` and `t1=process.t1 - process.t0`, also to go "
        "back in the time of the process (s = t1 - t).",
    )

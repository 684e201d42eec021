r"""A multistep sampler: second order from one evaluation a step, for any operator."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from .._types import Sample, Scalar
from ._base import AbstractSolver, Noise, Step, finish, noise_ratio, read_term


class _Memory(NamedTuple):
    """The last evaluation, and where the interpolation variable stood at it."""

    x0_hat: Sample
    variable: Scalar
    #: False until there has been one.
    filled: Scalar


class Multistep(AbstractSolver):
    r"""A multistep sampler: order 2 from one evaluation a step, for any $C_t$.

    The step holds the posterior mean at $\bar D$, extrapolated to the middle of the
    step from the last two evaluations (Adams-Bashforth),

    $$x_{t'} = C_{t'} \bar D + \frac{\sigma_{t'}}{\sigma_t} e^{-\mu/2}
    (x_t - C_t \bar D) + \sigma_{t'} \sqrt{1 - e^{-\mu}}\; \xi, \qquad
    \bar D = D_n + \frac{\tau_{n+1} - \tau_n}{2\,(\tau_n - \tau_{n-1})}\,
    (D_n - D_{n-1}),$$

    where $\mu$ is the relative noise of the step on its clock, 0 on the probability
    flow, and $\tau$ the variable in which $D$ is taken to be linear. The weights are
    scalars, whatever the operator:
    [why](../formalism.md#two-evaluations-for-the-price-of-one). The first step has no
    past and is of first order, which costs the whole no order.

    On the probability flow it is of order 2 for any $C_t$ that is smooth in time. With
    $C_t = \alpha_t I$ and $\tau = \log(\alpha_t / \sigma_t)$ it *is* DPM-Solver++(2M).
    On a clock with noise it is of weak order 2: what the noise does to $D$ within a
    step is made up for by the next. Where evaluations are few, use this sampler.

    !!! example

        ```python
        ss.sample(
            denoiser, x1=xs, solver=ss.Multistep(), clock="ode", num_steps=20, key=key
        )
        ```

    ??? cite "Reference"

        Lu, Zhou, Bao, Chen, Li and Zhu, *DPM-Solver++: Fast Solver for Guided Sampling
        of Diffusion Probabilistic Models*, 2022, Algorithm 2.
    """

    order_: int = 2
    variable: Callable[[Scalar], Scalar] | None = None

    noise: ClassVar[Noise] = "clock"
    evaluations_per_step: ClassVar[int] = 1

    def __init__(
        self, order: int = 2, *, variable: Callable[[Scalar], Scalar] | None = None
    ):
        r"""**Arguments:**

        - `order`: 2; or 1, for the same without a memory, which is
            [`softsde.DDIM`][softsde.solvers.DDIM] on the clock of its term.
        - `variable`: $\tau$, a smooth function of the time $t$ that rises or falls
            strictly, in which the prediction is close to linear; by default the time.
            Where it rests, steps are of first order.

        **Raises:** `ValueError` for another order.
        """
        if order not in (1, 2):
            raise ValueError(f"`Multistep` got `order={order}`; expected 1 or 2.")
        self.order_ = order
        self.variable = variable

    @property
    def orders(self):
        return (self.order_, 1)

    def init(self, terms, t0, t1, y0, args):
        self.check(terms)
        # Any value but the present one: it is not used until the memory is filled.
        before = self._variable(read_term("Multistep", terms)[0].time(t0)) - 1
        return _Memory(jnp.zeros_like(y0), before, jnp.asarray(False))

    def _variable(self, t: Scalar) -> Scalar:
        return t if self.variable is None else self.variable(t)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("Multistep", terms, t0, t1, y0, args)
        process, t, t_next, x = step.process, step.t, step.t_next, step.x
        x0_hat = step.predict(t, x)
        now, then = (
            self._variable(step.drift.time(t0)),
            self._variable(step.drift.time(t1)),
        )
        middle = x0_hat
        if self.order_ == 2:
            past = now - solver_state.variable
            usable = solver_state.filled & (past != 0) & ~jnp.asarray(made_jump)
            half = 0.5 * (then - now) / jnp.where(usable, past, 1)
            weight = jnp.where(usable, half, 0).astype(x.dtype)
            middle = x0_hat + weight * (x0_hat - solver_state.x0_hat)
        mu = step.mu()
        kept = noise_ratio(process, t, t_next) * jnp.exp(-0.5 * mu)
        residual = x - process.apply(t, middle)
        noise = step.noise(process.sigma(t_next) * jnp.sqrt(-jnp.expm1(-mu)))
        x_next = process.apply(t_next, middle) + kept.astype(x.dtype) * residual + noise
        return finish(x, x_next, _Memory(x0_hat, now, jnp.asarray(True)))

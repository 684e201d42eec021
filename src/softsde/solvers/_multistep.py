r"""A multistep sampler: second order from one evaluation a step, for any operator."""

from collections.abc import Callable
from typing import ClassVar, NamedTuple

import jax.numpy as jnp

from .._types import Sample, Scalar
from ..terms._normalised import normalised_control, normalised_step
from ._base import AbstractReverseSolver, Advance


class _Memory(NamedTuple):
    """The last evaluation, and where the interpolation variable stood at it."""

    x0_hat: Sample
    variable: Scalar
    #: False until there has been one.
    filled: Scalar


class Multistep(AbstractReverseSolver):
    r"""Adams–Bashforth on the normalised form: order 2, one evaluation a step.

    The step of [`softsde.DDIM`][softsde.solvers.DDIM], with the posterior mean
    extrapolated to the middle of the step from the last two evaluations:

    $$x_{t'} = C_{t'} \bar D + a\, (x_t - C_t \bar D) + b\, \xi, \qquad
    \bar D = D_n + \frac{\tau_{n+1} - \tau_n}{2\,(\tau_n - \tau_{n-1})}\,
    (D_n - D_{n-1}),$$

    where $\tau$ is the variable in which $D$ is taken to be linear. On the probability
    flow $a = \sigma_{t'} / \sigma_t$ and $b = 0$; on a noise clock $a$ and $b$ are
    those of [the normalised form](../formalism.md#the-normalised-form). The weights
    are scalars, whatever the operator:
    [why](../formalism.md#two-evaluations-for-the-price-of-one). The first step has no
    past and is of first order, which costs the whole no order.

    On the probability flow it is of order 2 for any $C_t$ that is smooth in time. With
    $C_t = \alpha_t I$ and $\tau = \log(\alpha_t / \sigma_t)$ it *is* DPM-Solver++(2M).
    On a noise clock it is of weak order 2 (measured on Gaussian data): what the noise
    does to $D$ within a step is made up for by the next. Where evaluations are few,
    this is the sampler to use.

    !!! example

        ```python
        ss.sample(
            process,
            denoiser,
            x1=xs,
            solver=ss.Multistep(),
            noise_clock="flow",
            num_steps=20,
            key=key,
        )
        ```

    ??? cite "Reference"

        Lu, Zhou, Bao, Chen, Li and Zhu, *DPM-Solver++: Fast Solver for Guided Sampling
        of Diffusion Probabilistic Models*, 2022, Algorithm 2.
    """

    order_: int = 2
    variable: Callable[[Scalar], Scalar] | None = None

    evaluations_per_step: ClassVar[int] = 1
    draws_noise: ClassVar[bool] = False

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

    def order(self, terms):
        return self.order_

    def strong_order(self, terms):
        return 1

    def start(self, form, s0, y0):
        # Any value but the present one: it is not used until the memory is filled.
        before = self._variable(form, s0) - 1
        return _Memory(jnp.zeros_like(y0), before, jnp.asarray(False))

    def _variable(self, form, s) -> Scalar:
        t = form.time(s)
        return t if self.variable is None else self.variable(t)

    def advance(self, form, s0, s1, y0, state, made_jump):
        x0_hat = form.predict(s0, y0)
        now, then = self._variable(form, s0), self._variable(form, s1)
        middle = x0_hat
        if self.order_ == 2:
            past = now - state.variable
            usable = state.filled & (past != 0) & ~jnp.asarray(made_jump)
            weight = jnp.where(
                usable, 0.5 * (then - now) / jnp.where(usable, past, 1), 0
            )
            middle = x0_hat + weight.astype(y0.dtype) * (x0_hat - state.x0_hat)
        y1 = normalised_step(form, normalised_control(form, s0, s1), y0, middle)
        return Advance(y1, _Memory(x0_hat, now, jnp.asarray(True)))

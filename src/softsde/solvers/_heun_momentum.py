r"""Heun's method on the control form: a Momentum Sampler of second order."""

from typing import ClassVar

import diffrax
import jax

from ..terms._control import control_term
from ._base import AbstractReverseSolver


class HeunMomentum(AbstractReverseSolver):
    r"""A Momentum Sampler of order 2: Heun's method on the control form.

    A step of [`softsde.Momentum`][softsde.solvers.Momentum] to $\tilde x$, then the
    same step again, from $x_t$ and with the same noise, by the means of the two ends:

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \frac{D + \tilde D}{2} + \frac{v}{2}\,
    (S_t(x_t) + S_{t'}(\tilde x)) + B, \qquad v = \frac{\sigma_t^2 - \sigma_{t'}^2 +
    \Delta\Lambda}{2},$$

    with $D = D(t, x_t)$, $\tilde D = D(t', \tilde x)$ and $B \sim N(0, \Delta\Lambda
    I)$ the noise of the step. Two evaluations of the network a step. No derivative of
    $C_t$ is taken, and nothing is asked of how its levels commute.

    On the probability flow it is of order 2. On a noise clock it is of weak order 2
    (moments, histograms) and of strong order 1 (paths), as the noise is additive.

    It divides by $\sigma_{t'}^2$ before the sample has settled there, so on the flow it
    wants steps over which `sigma` falls by less than about a factor of 3. Where noise
    falls faster, use [`softsde.Multistep`][softsde.solvers.Multistep].

    !!! example

        ```python
        ss.sample(
            process,
            denoiser,
            x1=xs,
            solver=ss.HeunMomentum(),
            noise_clock="flow",
            num_steps=20,
            key=key,
        )
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022, Algorithm 1, is this for
        $C_t = I$ and $\sigma_t = t$ but for its variable: Heun's method in `sigma`,
        not in its square. That is [`softsde.StochasticHeun`][].
    """

    evaluations_per_step: ClassVar[int] = 2
    draws_noise: ClassVar[bool] = False

    def order(self, terms):
        return 2

    def strong_order(self, terms):
        return 1

    def init(self, terms, t0, t1, y0, args):
        control_term("HeunMomentum", terms)
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        del solver_state, made_jump
        control = terms.contr(t0, t1)
        start = terms.vf(t0, y0, args)
        end = terms.vf(t1, y0 + terms.prod(start, control), args)
        mean = jax.tree.map(lambda a, b: 0.5 * (a + b), start, end)
        y1 = y0 + terms.prod(mean, control)
        return y1, None, dict(y0=y0, y1=y1), None, diffrax.RESULTS.successful

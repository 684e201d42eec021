r"""Heun's method on the control form: a Momentum Sampler of second order."""

from typing import ClassVar

from ._base import AbstractReverseSolver, Advance


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

    def start(self, form, s0, y0):
        return None

    def advance(self, form, s0, s1, y0, state, made_jump):
        del state, made_jump
        control = form.contr(s0, s1)
        start = form.vf(s0, y0, None)
        guess = y0 + form.prod(start, control)
        end = form.vf(s1, guess, None)
        y1 = y0 + form.prod(form.between(start, end), control)
        return Advance(y1, error=y1 - guess)

r"""Heun's method for any corruption: order 2 without a derivative of $C_t$."""

from typing import ClassVar, Literal

import diffrax
import jax.numpy as jnp

from .._types import Sample, Scalar
from ._base import AbstractSolver, Noise, Step, finish, noise_ratio, score_from

# Over longer steps the error estimate in normalised coordinates means nothing: the
# prediction at either end may be right while it was not in between.
_LARGEST_RATIO = 2.0


class Heun(AbstractSolver, diffrax.AbstractAdaptiveSolver):
    r"""Heun's method on increments of $C_t$ and $\sigma_t$, of order 2.

    A step of Euler's method to $\tilde x$, then the same step again, from $x_t$ and
    with the same noise, by the means of the two ends, with $D = D(t, x_t)$ and $\tilde
    D = D(t', \tilde x)$. In the coordinates `"x"` the first step is one of
    [`softsde.Momentum`][softsde.solvers.Momentum], and

    $$x_{t'} = x_t + (C_{t'} - C_t)\, \frac{D + \tilde D}{2} + \frac{\sigma_t^2 -
    \sigma_{t'}^2 + \Delta\Lambda}{2} \cdot \frac{S_t(x_t) + S_{t'}(\tilde x)}{2} +
    \sqrt{\Delta\Lambda}\, \xi.$$

    In `"normalised"` coordinates, $x / \tilde\sigma$ with $\tilde\sigma = \sigma
    e^{-\mu/2}$, the linear part is solved exactly, and with $\bar D = (D + \tilde D)/2$

    $$x_{t'} = C_{t'} \bar D + \frac{\sigma_{t'}}{\sigma_t} e^{-\mu/2}
    (x_t - C_t \bar D) + \sigma_{t'} \sqrt{1 - e^{-\mu}}\; \xi.$$

    Two evaluations of the network a step. On the probability flow both are of order 2.
    On a clock with noise they are of weak order 2 (moments, histograms) and of strong
    order 1 (paths). Nothing is asked of how the levels of $C_t$ commute.

    In `"x"` it divides by $\sigma_{t'}^2$ before the sample has settled there, so on
    the flow it wants steps over which `sigma` falls by less than about a factor of 3;
    the normalised form has no such need. With steps that adapt, the normalised form
    rejects a step over which `sigma` changes by more than a factor of 2.

    !!! example

        ```python
        ss.sample(
            denoiser, x1=xs, solver=ss.Heun(), clock="ode", num_steps=20, key=key
        )
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022. Their Algorithm 1 steps in
        `sigma` rather than in its square: [`softsde.EDMHeun`][softsde.solvers.EDMHeun].
    """

    coordinates: Literal["x", "normalised"] = "x"

    noise: ClassVar[Noise] = "clock"
    evaluations_per_step: ClassVar[int] = 2
    orders: ClassVar[tuple[int | None, int | None]] = (2, 1)

    def __check_init__(self):
        if self.coordinates not in ("x", "normalised"):
            raise ValueError(
                f"`Heun` got `coordinates={self.coordinates!r}`; expected 'x' or "
                "'normalised'."
            )

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("Heun", terms, t0, t1, y0, args)
        if self.coordinates == "x":
            x_next, error = _in_x(step)
        else:
            x_next, error = _normalised(step)
        return finish(step.x, x_next, error=error)


def _in_x(step: Step) -> tuple[Sample, Sample]:
    process, t, t_next, x = step.process, step.t, step.t_next, step.x
    injected = step.injected()
    weight = (0.5 * (process.variance_drop(t, t_next) + injected)).astype(x.dtype)
    noise = step.noise(jnp.sqrt(injected))

    # Euler: the step of the Momentum Sampler, Eq. 17 and 51.
    start = step.predict(t, x)
    here, ahead = process.apply(t, start), process.apply(t_next, start)
    euler = ahead - here + weight * score_from(process, t, here - x)
    guess = x + euler + noise
    # The same step by the field at its end, and the mean of the two.
    end = step.predict(t_next, guess)
    here, ahead = process.apply(t, end), process.apply(t_next, end)
    again = ahead - here + weight * score_from(process, t_next, ahead - guess)
    x_next = x + 0.5 * (euler + again) + noise
    return x_next, x_next - guess


def _normalised(step: Step) -> tuple[Sample, Sample]:
    process, t, t_next, x = step.process, step.t, step.t_next, step.x
    mu = step.mu()
    ratio = noise_ratio(process, t, t_next)
    kept = (ratio * jnp.exp(-0.5 * mu)).astype(x.dtype)
    noise = step.noise(process.sigma(t_next) * jnp.sqrt(-jnp.expm1(-mu)))

    def advance(x0_hat: Sample) -> Sample:
        residual = x - process.apply(t, x0_hat)
        return process.apply(t_next, x0_hat) + kept * residual + noise

    start = step.predict(t, x)
    guess = advance(start)
    x_next = advance(0.5 * (start + step.predict(t_next, guess)))
    return x_next, _with_bound(x_next - guess, x_next, ratio)


def _with_bound(error: Sample, x_next: Sample, ratio: Scalar) -> Sample:
    """The error estimate, made large for steps over which `sigma` changes too much.

    Both predictions of a long step can agree although $D$ has moved in between: a first
    guess that lands on the mean of the data is mapped to itself.
    """
    change = jnp.maximum(ratio, 1 / ratio)
    # Large enough to be rejected, and finite.
    refused = 1e3 * (1 + jnp.abs(x_next))
    return jnp.where(change > _LARGEST_RATIO, refused, error)

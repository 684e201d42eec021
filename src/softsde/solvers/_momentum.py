r"""The Momentum Sampler (Algorithm 2) as a diffrax solver."""

from typing import ClassVar

import jax.numpy as jnp

from ._base import AbstractSolver, Noise, Step, finish, score_from


class Momentum(AbstractSolver):
    r"""The Momentum Sampler, of order 1.

    On the paper's reverse SDE a step is Eq. 17,

    $$x_{t - \Delta} = x_t + (C_{t-\Delta} - C_t)\, \hat x_0 + (\sigma_t^2 -
    \sigma_{t-\Delta}^2)\, s_t + \sqrt{\sigma_t^2 - \sigma_{t-\Delta}^2}\, \eta,$$

    and on the probability flow it is Eq. 51: the same without the noise and with half
    the weight on the score. It moves the sample by what the corruption loses between
    two times, and never replaces it by a new prediction, so it keeps the detail that
    [`softsde.Naive`][softsde.solvers.Naive] averages away. One evaluation of the
    network a step. It is Euler's method on increments of $C_t$ and $\sigma_t^2$, so it
    needs no derivative of $C_t$. Any other clock is Eq. 17 with its own variance.

    !!! example

        ```python
        term = ss.reverse_sde(denoiser, shape=shape, key=key)
        diffrax.diffeqsolve(
            term, ss.Momentum(), 0.0, 1.0, 0.01, x1, adjoint=diffrax.ForwardMode()
        )
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Algorithm 2 and Eq. 17, 51.
    """

    noise: ClassVar[Noise] = "clock"
    evaluations_per_step: ClassVar[int] = 1
    # The noise is additive (its size depends on time only), so Euler's method is of
    # strong order 1, as Milstein's.
    orders: ClassVar[tuple[int | None, int | None]] = (1, 1)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("Momentum", terms, t0, t1, y0, args)
        process, t, t_next, x = step.process, step.t, step.t_next, step.x
        x0_hat = step.predict(t, x)
        corrupted = process.apply(t, x0_hat)
        score = score_from(process, t, corrupted - x)
        # Eq. 17. On the paper's clock `injected` is sigma_t^2 - sigma_{t'}^2, and the
        # score has that weight; on the flow it is 0, and the weight is half (Eq. 51).
        drop = process.variance_drop(t, t_next)
        injected = step.injected()
        weight = (0.5 * (drop + injected)).astype(x.dtype)
        moved = process.apply(t_next, x0_hat) - corrupted
        return finish(x, x + moved + weight * score + step.noise(jnp.sqrt(injected)))

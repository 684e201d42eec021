r"""The DDIM-type sampler (Eq. 52): the residual carried over, and partly drawn anew."""

from typing import ClassVar

import jax.numpy as jnp

from ..terms._normalised import NormalisedControl, noise_ratio, normalised_step
from ._base import AbstractReverseSolver, Advance


class DDIM(AbstractReverseSolver):
    r"""DDIM for any corruption: the prediction, corrupted to the next level, plus what
    is kept of the noise.

    With $D = D(t, x_t)$, $\rho = \sigma_{t'} / \sigma_t$ and $\xi \sim N(0, I)$,

    $$x_{t'} = C_{t'} D + \sigma_{t'} \Big( \sqrt{1 - k^2 (1 - \rho^2)}\;
    \frac{x_t - C_t D}{\sigma_t} + k \sqrt{1 - \rho^2}\; \xi \Big).$$

    Two variances that add up to $\sigma_{t'}^2$, the noise that is kept and the noise
    that is fresh. One evaluation of the network a step.

    - `k=0`, the default, is deterministic: Eq. 52 at $k = 0$. It is Euler's method on
        the normalised form of the probability flow, so it is exact wherever $D$ does
        not move, however far `sigma` falls in a step. With $C_t = \alpha_t I$ it is the
        DDIM of Song et al. with $\eta = 0$.
    - `k=1` keeps $\rho^2$ of the residual, as
        [`softsde.Momentum`][softsde.solvers.Momentum] does, and is the paper's reverse
        SDE in normalised form. With $C_t = I$ it is ancestral sampling, that is, DDIM
        with $\eta = 1$, and `k` is $\eta$ in between.

    Each `k` has a limit as the steps shrink, the reverse family on the clock $k^2
    (\sigma^2(t_1) - \sigma^2(t))$, and it is of order 1. Beyond `k=1`, all the noise
    would be fresh at $k^2 (1 - \rho^2) = 1$, which is
    [`softsde.Naive`][softsde.solvers.Naive] and has no limit.

    With $C_t = \alpha_t I$ and $k > 0$ the two differ in how much noise is fresh:
    Song's $\eta = 1$ draws $1 - (\alpha_t \rho / \alpha_{t'})^2$ of it anew. A general
    operator has no such number.

    It says itself how much noise it wants: the clock of its term is not asked. To
    follow a clock, use [`softsde.Multistep`][softsde.solvers.Multistep] with `order=1`.

    !!! example

        ```python
        ss.sample(process, denoiser, x1=xs, solver=ss.DDIM(), num_steps=20, key=key)
        ```

    ??? cite "References"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Eq. 52.

        Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, ICLR 2021.
    """

    k: float

    evaluations_per_step: ClassVar[int] = 1

    def __init__(self, k: float = 0.0):
        """**Arguments:**

        - `k`: how much of the noise is drawn anew, from 0 to 1.

        **Raises:** `ValueError` for another number.
        """
        if not 0 <= k <= 1:
            raise ValueError(
                f"`DDIM` got `k={k}`; expected 0 (deterministic) to 1 (the reverse SDE "
                "of the paper)."
            )
        self.k = k

    @property
    def draws_noise(self) -> bool:
        return self.k > 0

    def order(self, terms):
        return 1

    def start(self, form, s0, y0):
        if form.brownian is None and self.k > 0:
            raise ValueError(
                f"`DDIM(k={self.k})` draws fresh noise, and a probability flow has "
                "none. Use `softsde.reverse_sde(process, denoiser, key=key, "
                "shape=shape)`, or `DDIM()`."
            )
        if form.forward and self.k > 0:
            raise ValueError(
                f"`DDIM(k={self.k})` trades old noise for new as noise falls, which it "
                "does not do forward in time. Use `DDIM()`."
            )
        return None

    def advance(self, form, s0, s1, y0, state, made_jump):
        del state, made_jump
        process = form.process
        t_from, t_to = form.time(s0), form.time(s1)
        after = process.sigma(t_to)
        ratio = noise_ratio(process.sigma(t_from), after)
        fresh = self.k**2 * (1 - ratio) * (1 + ratio)
        noise = None
        if self.k > 0:
            assert form.brownian is not None  # `start` has refused it
            width = (after * jnp.sqrt(fresh)).astype(y0.dtype)
            noise = width * form.brownian.normal(s0, s1).astype(y0.dtype)
        kept = ratio * jnp.sqrt(1 - fresh)
        control = NormalisedControl(t_from, t_to, kept, noise)
        return Advance(normalised_step(form, control, y0, form.predict(s0, y0)))

r"""The DDIM-type sampler (Eq. 52): the residual carried over, and partly drawn anew."""

from typing import ClassVar

import jax.numpy as jnp

from .._checks import check_non_negative
from .._types import Scalar
from ._base import AbstractSolver, Noise, Step, finish, noise_ratio


class DDIM(AbstractSolver):
    r"""DDIM for any corruption: the prediction, corrupted to the next level, plus the
    noise that is kept and the noise that is drawn anew.

    With $D = D(t, x_t)$, $f$ the standard deviation of the fresh noise and $\xi \sim
    N(0, I)$,

    $$x_{t'} = C_{t'} D + \sqrt{\sigma_{t'}^2 - f^2}\; \frac{x_t - C_t D}{\sigma_t} +
    f\, \xi.$$

    The two variances add up to $\sigma_{t'}^2$. One evaluation of the network a step.

    - `DDIM()` has $f = 0$ and is deterministic: Eq. 52 at $k = 0$. It is Euler's method
        on the probability flow in normalised coordinates, so it is exact wherever $D$
        does not move, however far `sigma` falls in a step.
    - `DDIM(eta=...)` has $f^2 = \eta^2 \sigma_{t'}^2 (1 - \rho^2)$ with $\rho =
        \sigma_{t'} / \sigma_t$. For a scaling $C_t = \alpha_t I$ it is $\rho =
        \sigma_{t'} \alpha_t / (\sigma_t \alpha_{t'})$: the DDIM of Song et al., which
        at $\eta = 1$ is ancestral sampling. Each $\eta$ has a limit as steps shrink, a
        reverse SDE whose noise is $\eta^2$ of the paper's (or, for a scaling, of the
        classical SDE's).
    - `DDIM(k=...)` has $f = \min(k, \sigma_{t'})$: Eq. 52 with its absolute $k$, a
        standard deviation in the units of the data. It injects also while `sigma`
        rests, and the same amount in every step, so more steps inject more noise.

    With `large=True` the fresh noise of `eta` has the standard deviation $\eta\,
    \sigma_t \sqrt{1 - \rho^2}$ instead, that of a step of the forward chain, while the
    old noise is kept as before: the $\hat\sigma$ of Song et al., and at $\eta = 1$
    DDPM with its larger variance. The variances add up to more than $\sigma_{t'}^2$;
    the limit in short steps is the same.

    It follows no clock. To follow one, use
    [`softsde.Multistep`][softsde.solvers.Multistep] with `order=1`.

    !!! example

        ```python
        ss.sample(denoiser, x1=xs, solver=ss.DDIM(), num_steps=20, key=key)
        ```

    ??? cite "References"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Eq. 52.

        Song, Meng and Ermon, *Denoising Diffusion Implicit Models*, ICLR 2021, Eq. 12
        and 16.
    """

    eta: float
    k: float | None
    large: bool

    evaluations_per_step: ClassVar[int] = 1

    def __init__(
        self, eta: float = 0.0, *, k: float | None = None, large: bool = False
    ):
        r"""**Arguments:**

        - `eta`: how much of the noise is drawn anew, relative to ancestral sampling;
            from 0 to 1.
        - `k`: instead, the standard deviation of the fresh noise, at least 0.
        - `large`: with `eta`, the larger of DDPM's two variances.

        **Raises:** `ValueError` for a number out of its range, both at once, or
        `large` without an `eta`.
        """
        if not 0 <= eta <= 1:
            raise ValueError(
                f"`DDIM` got `eta={eta}`; expected 0 (deterministic) to 1 (ancestral "
                "sampling)."
            )
        if k is not None:
            check_non_negative("DDIM", "k", k)
            if eta != 0:
                raise ValueError(
                    f"`DDIM` got `eta={eta}` and `k={k}`: both say how much noise is "
                    "drawn. Give one of them."
                )
        if large and eta == 0:
            raise ValueError(
                "`DDIM` got `large=True` without noise to enlarge: it goes with `eta` "
                "> 0, as in `DDIM(eta=1.0, large=True)`."
            )
        self.eta = eta
        self.k = k
        self.large = large

    @property
    def noise(self) -> Noise:
        return "own" if self.eta > 0 or (self.k is not None and self.k > 0) else "none"

    @property
    def orders(self):
        # A constant `k` injects more noise the more steps there are: it has no limit.
        return (None if self.k else 1, None)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("DDIM", terms, t0, t1, y0, args)
        process, t, t_next, x = step.process, step.t, step.t_next, step.x
        if self.noise == "own" and step.drift.forward:
            raise ValueError(
                "`DDIM` trades old noise for new as noise falls, which it does not do "
                "forward in time. Use `DDIM()`."
            )
        x0_hat = step.predict(t, x)
        residual = x - process.apply(t, x0_hat)
        ratio = noise_ratio(process, t, t_next)
        # Eq. 52, with the share f^2 / sigma_{t'}^2 of the noise drawn anew.
        fresh = self._share(step, ratio)
        kept = (ratio * jnp.sqrt(1 - fresh)).astype(x.dtype)
        x_next = process.apply(t_next, x0_hat) + kept * residual
        if self.noise == "own":
            # eta sigma' sqrt(1 - rho^2); of a step of the forward chain, with sigma.
            std = process.sigma(t if self.large else t_next) * jnp.sqrt(fresh)
            x_next = x_next + std.astype(x.dtype) * step.fresh()
        return finish(x, x_next)

    def _share(self, step: Step, ratio: Scalar) -> Scalar:
        process, t_next = step.process, step.t_next
        if process.is_noiseless:
            # Nothing to draw anew: all of the residual is kept.
            return jnp.zeros_like(ratio)
        if self.k is not None:
            sigma = process.sigma(t_next)
            return jnp.minimum(self.k / sigma, 1) ** 2 if self.k else 0 * sigma
        if not self.eta:
            return 0 * ratio
        rho = self._rho(step, ratio)
        return self.eta**2 * (1 - rho) * (1 + rho)

    def _rho(self, step: Step, ratio: Scalar) -> Scalar:
        """The ratio of noises; for a scaling (Song et al., Eq. 16) that of noises
        relative to the signal."""
        process, t, t_next = step.process, step.t, step.t_next
        if not process.is_scaling:
            return ratio
        return ratio * process.signal(t) / process.signal(t_next)

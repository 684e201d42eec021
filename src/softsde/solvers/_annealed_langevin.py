r"""Annealed Langevin dynamics: chains on the densities of falling noise levels."""

import jax.numpy as jnp

from .._checks import check_positive
from ._abstract_chain import AbstractChain
from ._chain import Metropolis, StepConvention, check_chain, drift_weight


class AnnealedLangevin(AbstractChain):
    r"""Annealed Langevin dynamics: at each new time, a chain on its density.

    A step to $t'$ takes `steps` moves of [`softsde.Langevin`][softsde.solvers.Langevin]
    on $q_{t'}$, whose step size falls with the variance of the noise,

    $$\alpha_{t'} = \epsilon\, \sigma_{t'}^2 / \sigma_{t_0}^2.$$

    The levels are the times of the grid after the first, which is where the start is.
    The times of levels of one's own are `process.noise.inverse(sigma)`. Any corruption
    will do, as any $q_t$ has a score; the noise must fall, or nothing is annealed.

    It does not converge to the data as levels are added, but as `steps` grow and
    $\epsilon$ falls: each chain has the bias of its step size, and lags behind its
    level. (With the noise levels and step sizes published for CIFAR-10 and 5 moves a
    level, what it makes of $N(0, 1)$ has the standard deviation 1.067.) As a corrector
    it is a chain whose step size suits all times.

    The last step of NCSNv2, $x + \sigma^2 S(x)$, is `denoise_last` of
    [`softsde.sample`][].

    !!! example

        ```python
        process = ss.ve(0.01, 1.0)
        levels = ss.schedules.noise_sequence("geometric", 10)
        times = jax.vmap(process.noise.inverse)(levels)
        ss.sample(
            process,
            ss.oracles.EmpiricalOracle(xs).denoiser(process),
            x1=xs,
            times=np.clip(times, 0.0, 1.0),
            solver=ss.AnnealedLangevin(2e-5, steps=10, step_convention="alpha/2"),
            key=key,
        )
        ```

    ??? cite "References"

        Song and Ermon, *Generative Modeling by Estimating Gradients of the Data
        Distribution*, NeurIPS 2019, Algorithm 1 (`"alpha/2"`).

        Song and Ermon, *Improved Techniques for Training Score-Based Generative
        Models*, NeurIPS 2020 (NCSNv2, whose step sizes are meant as `"alpha"`).
    """

    step_size: float
    steps: int
    step_convention: StepConvention
    metropolis: Metropolis

    def __init__(
        self,
        step_size: float,
        *,
        steps: int = 100,
        step_convention: StepConvention = "alpha",
        metropolis: Metropolis = None,
    ):
        r"""**Arguments:**

        - `step_size`: $\epsilon$, the step size at the least noise, that of `t0`. Below
            $\sigma_{t_0}^2$, or chains overshoot.
        - `steps`: moves a level.
        - `step_convention`, `metropolis`: as in
            [`softsde.Langevin`][softsde.solvers.Langevin].

        **Raises:** `ValueError` for values that have no meaning.
        """
        check_positive("AnnealedLangevin", "step_size", step_size)
        check_chain("AnnealedLangevin", steps, step_convention, metropolis)
        self.step_size = step_size
        self.steps = steps
        self.step_convention = step_convention
        self.metropolis = metropolis

    def check_form(self, form):
        del form

    def time_and_weight(self, form, s0, s1, x):
        del s0
        process = form.process
        t = form.time(jnp.asarray(s1, x.dtype))
        last = process.sigma(jnp.asarray(process.t0, x.dtype))
        size = self.step_size * (process.sigma(t) / last) ** 2
        weight = drift_weight(size, self.step_convention)
        return t, lambda slope, z: weight

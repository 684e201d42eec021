r"""Langevin's chain on the density of one time, alone or as a corrector."""

import jax.numpy as jnp
import numpy as np

from .._checks import check_positive
from .._types import Sample, Scalar
from ..terms import AbstractForm
from ._abstract_chain import AbstractChain
from ._chain import Metropolis, StepConvention, check_chain, drift_weight


class Langevin(AbstractChain):
    r"""Langevin's chain on $q_t$, the density of one time: by itself or as a corrector.

    $$x \leftarrow x + h\, \nabla \log q_t(x) + \sqrt{2h}\; z, \qquad z \sim N(0, I).$$

    As a corrector it moves at the end of a predictor's step. As a solver it is MCMC on
    $q_t$ with $t$ held at `at`: a step of diffrax is `steps` moves, its time counts
    steps and has no other meaning, and what `diffrax.SaveAt` saves is the chain.

    Without a correction the chain draws from a density near $q_t$: for $N(m, S)$ its
    covariance is $S (I - \tfrac h2 S^{-1})^{-1}$, and it diverges when $h$ is over
    twice the least variance. With `metropolis` it draws from $q_t$ itself (MALA), as
    exactly as the ratio of densities is known.

    !!! example

        ```python
        term = ss.reverse_sde(
            process, denoiser, noise_clock="flow", shape=shape, key=key
        )
        chain = diffrax.diffeqsolve(
            term,
            ss.Langevin(1e-4, at=0.1),
            0.0,
            1.0,
            dt0=0.1,
            y0=x_t,
            saveat=diffrax.SaveAt(steps=True),
            adjoint=diffrax.ForwardMode(),
            max_steps=10,
        ).ys
        ```

    ??? cite "References"

        Song, Sohl-Dickstein, Kingma, Kumar, Ermon and Poole, *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021, Algorithms 4
        and 5.

        Roberts and Tweedie, *Exponential Convergence of Langevin Distributions and
        Their Discrete Approximations*, Bernoulli 1996.
    """

    step_size: float | None
    snr: float | None
    steps: int
    step_convention: StepConvention
    metropolis: Metropolis
    at: float | None

    def __init__(
        self,
        step_size: float | None = None,
        *,
        snr: float | None = None,
        steps: int = 1,
        step_convention: StepConvention = "alpha",
        metropolis: Metropolis = None,
        at: float | None = None,
    ):
        r"""**Arguments:**

        - `step_size`: $\alpha$, the same for all moves; or
        - `snr`: $r$, a signal-to-noise ratio, with Song's rule $h = 2 (r \lVert z
            \rVert / \lVert \nabla \log q_t(x) \rVert)^2$. The norms are of one sample,
            where score_sde takes means over a batch. For a scaling the rule has the
            factor $(\alpha_t / \alpha_{t'})^2$ of the step just taken (their
            $\alpha_i$). As $h$ depends on $x$ and $z$, the chain is near no density in
            particular; it is a rule of thumb that needs no units.
        - `steps`: moves a step.
        - `step_convention`: what $\alpha$ means: `"alpha"` for $h = \alpha$, that is
            $x + \alpha S + \sqrt{2\alpha} z$, or `"alpha/2"` for $h = \alpha / 2$, that
            is $x + \frac\alpha2 S + \sqrt{\alpha} z$. Both are in use.
        - `metropolis`: `None`; a callable `log_prob(t, x)` for an exact correction; or
            `"score"`, which integrates the score along the line from $x$ to $x'$ by
            Simpson's rule: exact for densities whose logarithm has degree 4, with an
            error of the order $\lVert x' - x \rVert^5$ a move otherwise, and one more
            evaluation a move.
        - `at`: the time whose density is sampled; by default that of the end of each
            step.

        **Raises:** `ValueError` unless exactly one of `step_size` and `snr` is given,
        or for values that have no meaning.
        """
        if (step_size is None) == (snr is None):
            raise ValueError(
                f"`Langevin` got `step_size={step_size}` and `snr={snr}`; expected "
                "exactly one of them."
            )
        if step_size is not None:
            check_positive("Langevin", "step_size", step_size)
        if snr is not None:
            check_positive("Langevin", "snr", snr)
            if metropolis is not None or step_convention != "alpha":
                raise ValueError(
                    "`Langevin` with `snr` has a step size that depends on the state "
                    "and the noise, which `metropolis` does not correct, and of the "
                    "convention 'alpha'. Give a `step_size` instead."
                )
        check_chain("Langevin", steps, step_convention, metropolis)
        self.step_size = step_size
        self.snr = snr
        self.steps = steps
        self.step_convention = step_convention
        self.metropolis = metropolis
        self.at = at

    def check_form(self, form):
        process = form.process
        if self.at is not None and not process.t0 <= np.asarray(self.at) <= process.t1:
            raise ValueError(
                f"`Langevin` got `at={self.at}`, outside the process's [{process.t0}, "
                f"{process.t1}]."
            )

    def time_and_weight(self, form, s0, s1, x):
        del x
        t = form.time(s1) if self.at is None else jnp.asarray(self.at)
        scale = self._scale(form, s0, s1)

        def weight(slope: Sample, z: Sample) -> Scalar:
            if self.snr is None:
                return drift_weight(jnp.asarray(self.step_size), self.step_convention)
            ratio = self.snr**2 * jnp.sum(z**2) / jnp.sum(slope**2)
            return 2 * scale.astype(ratio.dtype) * ratio

        return t, weight

    def _scale(self, form: AbstractForm, s0, s1) -> Scalar:
        """The factor of a variance-preserving step in Song's rule."""
        process = form.process
        if not process.is_scaling or self.at is not None:
            return jnp.asarray(1.0)
        before, after = (process.signal(form.time(s)) for s in (s0, s1))
        return (before / after) ** 2

r"""Langevin's chain on the density of one time, alone or as a corrector.

A move with weight $h$ proposes $x' = x + h S(x) + \sqrt{2h}\, z$, and is kept, or with
the Metropolis correction kept with probability $\min(1, e^r)$,

$$r = \log\frac{q(x')}{q(x)} - \tfrac12 (x' - x) \cdot (S(x) + S(x')) +
\tfrac{h}{4} \big(\lVert S(x) \rVert^2 - \lVert S(x') \rVert^2\big),$$

in which the last two terms are the ratio of the two proposal densities.
"""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from .._checks import check_positive
from .._types import Sample, Scalar, ScalarLike
from ._base import AbstractSolver, Noise, Step, finish, read_term
from ._predictor_corrector import AbstractCorrector

StepConvention: TypeAlias = Literal["alpha", "alpha/2"]
Metropolis: TypeAlias = Literal["score"] | Callable[..., Scalar] | None

# h in units of alpha.
_DRIFTS = {"alpha": 1.0, "alpha/2": 0.5}


class LangevinRecord(NamedTuple):
    """Counts the moves that a Langevin solver has proposed, and those that it kept."""

    proposed: Int[Array, ""]
    accepted: Int[Array, ""]


class Langevin(AbstractSolver, AbstractCorrector):
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
        term = ss.reverse_sde(denoiser, clock="ode", shape=shape, key=key)
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

    noise: ClassVar[Noise] = "own"
    orders: ClassVar[tuple[int | None, int | None]] = (None, None)

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

    @property
    def evaluations_per_step(self) -> int:
        return chain_evaluations(self.steps, self.metropolis)

    def init(self, terms, t0, t1, y0, args):
        self.check(terms)
        process = read_term("Langevin", terms)[0].process
        if self.at is not None and not process.t0 <= np.asarray(self.at) <= process.t1:
            raise ValueError(
                f"`Langevin` got `at={self.at}`, outside the process's [{process.t0}, "
                f"{process.t1}]."
            )
        return LangevinRecord(jnp.asarray(0), jnp.asarray(0))

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        step = Step("Langevin", terms, t0, t1, y0, args)
        x_next, accepted = self._chain(step, y0)
        proposed = solver_state.proposed + self.steps
        record = LangevinRecord(proposed, solver_state.accepted + accepted)
        return finish(y0, x_next, record)

    def correct(self, step: Step, predicted: Sample) -> Sample:
        if self.at is not None:
            raise ValueError(
                f"`PredictorCorrector` got a corrector with `at={self.at}`, but a "
                "corrector acts where the predictor's step ends: leave `at` out."
            )
        return self._chain(step, predicted)[0]

    def _chain(self, step: Step, x: Sample) -> tuple[Sample, Int[Array, ""]]:
        t = step.t_next if self.at is None else jnp.asarray(self.at)
        process, scale = step.process, jnp.asarray(1.0)
        if process.is_scaling and self.at is None:
            # The factor of a variance-preserving step in Song's rule.
            scale = (process.signal(step.t) / process.signal(step.t_next)) ** 2

        def weight(score: Sample, z: Sample) -> Scalar:
            if self.snr is None:
                return drift_weight(jnp.asarray(self.step_size), self.step_convention)
            ratio = self.snr**2 * jnp.sum(z**2) / jnp.sum(score**2)
            return 2 * scale.astype(ratio.dtype) * ratio

        return langevin_chain(step, t, x, weight, self.steps, self.metropolis)


def langevin_chain(
    step: Step,
    t: ScalarLike,
    x: Sample,
    weight: Callable[[Sample, Sample], Scalar],
    steps: int,
    metropolis: Metropolis,
    *,
    first: Any = 0,
) -> tuple[Sample, Int[Array, ""]]:
    """`steps` moves on the density of time `t`, with fresh noise of a step.

    `weight` is `h`, a function of the score and the noise of a move; `first` is how
    many moves of the same step there were before.

    Returns the state, and how many moves were kept.
    """
    t = jnp.asarray(t, x.dtype)

    def score(x: Sample) -> Sample:
        return step.process.score(t, x, step.predict(t, x))

    def propose(i, x, slope):
        z = step.fresh(first + i)
        h = jnp.asarray(weight(slope, z)).astype(x.dtype)
        # x + h S + sqrt(2h) z
        return x + h * slope + jnp.sqrt(2 * h) * z, h

    if metropolis is None:

        def move(i, x):
            return propose(i, x, score(x))[0]

        return jax.lax.fori_loop(0, steps, move, x), jnp.asarray(steps)

    key = jax.random.fold_in(step.key(), first)

    def try_move(i, carry):
        x, slope, accepted = carry
        proposal, h = propose(i, x, slope)
        new_slope = score(proposal)
        gap = proposal - x
        if metropolis == "score":
            # Simpson's rule along the straight line; a network's score need not be a
            # gradient, and then this is what its density is taken to be.
            mean = (slope + 4 * score(x + 0.5 * gap) + new_slope) / 6
            risen = jnp.sum(gap * mean)
        else:
            assert callable(metropolis)
            risen = metropolis(t, proposal) - metropolis(t, x)
        proposals = 0.25 * h * jnp.sum(slope**2 - new_slope**2)
        ratio = risen - 0.5 * jnp.sum(gap * (slope + new_slope)) + proposals
        drawn = jax.random.uniform(jax.random.fold_in(key, i), (), x.dtype)
        # A proposal that is not a number is refused.
        kept = jnp.log(drawn) < ratio
        x, slope = (
            jnp.where(kept, new, old)
            for new, old in ((proposal, x), (new_slope, slope))
        )
        return x, slope, accepted + kept.astype(accepted.dtype)

    start = (x, score(x), jnp.asarray(0))
    x, _, accepted = jax.lax.fori_loop(0, steps, try_move, start)
    return x, accepted


def check_chain(
    owner: str, steps: int, convention: StepConvention, metropolis: Metropolis
) -> None:
    if not steps >= 1:
        raise ValueError(f"`{owner}` got `steps={steps}`; expected at least 1.")
    if convention not in _DRIFTS:
        raise ValueError(
            f"`{owner}` got `step_convention={convention!r}`; expected 'alpha' "
            "(x + alpha S + sqrt(2 alpha) z) or 'alpha/2' (x + alpha/2 S + sqrt(alpha) "
            "z)."
        )
    if not (metropolis is None or metropolis == "score" or callable(metropolis)):
        raise ValueError(
            f"`{owner}` got `metropolis={metropolis!r}`; expected None, 'score' (the "
            "ratio of densities as a line integral of the score), or a callable "
            "`log_prob(t, x)`, such as `functools.partial(oracle.log_prob, process)`."
        )


def chain_evaluations(steps: int, metropolis: Metropolis) -> int:
    """Evaluations of the denoiser in a chain of `steps` moves."""
    if metropolis is None:
        return steps
    # The score at the start, at each proposal, and halfway to it.
    return 1 + (2 * steps if metropolis == "score" else steps)


def drift_weight(step_size: Scalar, convention: StepConvention) -> Scalar:
    """`h` of a step size in one of the two conventions."""
    return _DRIFTS[convention] * step_size

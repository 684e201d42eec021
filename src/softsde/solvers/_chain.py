r"""Langevin's chain on the density of one time: the engine of three solvers.

A move with weight $h$ proposes $x' = x + h S(x) + \sqrt{2h}\, z$, and is kept, or with
the Metropolis correction kept with probability $\min(1, e^r)$,

$$r = \log\frac{q(x')}{q(x)} - \tfrac12 (x' - x) \cdot (S(x) + S(x')) +
\tfrac{h}{4} \big(\lVert S(x) \rVert^2 - \lVert S(x') \rVert^2\big),$$

in which the last two terms are the ratio of the two proposal densities.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from .._types import Sample, Scalar, ScalarLike
from ..terms import AbstractForm, ClockedBrownianPath

StepConvention: TypeAlias = Literal["alpha", "alpha/2"]
Metropolis: TypeAlias = Literal["score"] | Callable[..., Scalar] | None

_DRIFTS = {"alpha": 1.0, "alpha/2": 0.5}


class LangevinRecord(NamedTuple):
    """How many moves a Langevin solver has proposed so far, and how many it kept."""

    proposed: Int[Array, ""]
    accepted: Int[Array, ""]


def new_record() -> LangevinRecord:
    return LangevinRecord(jnp.asarray(0), jnp.asarray(0))


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


def require_path(owner: str, form: AbstractForm) -> ClockedBrownianPath:
    if form.brownian is None:
        raise ValueError(
            f"`{owner}` draws noise of its own, and a probability flow has none. Use "
            "`softsde.reverse_sde(process, denoiser, noise_clock='flow', key=key, "
            "shape=shape)`, which is the flow with noise at hand."
        )
    return form.brownian


def langevin_chain(
    owner: str,
    form: AbstractForm,
    s0: ScalarLike,
    s1: ScalarLike,
    t: ScalarLike,
    x: Sample,
    weight: Callable[[Sample, Sample], Scalar],
    steps: int,
    metropolis: Metropolis,
) -> tuple[Sample, Int[Array, ""]]:
    """`steps` moves on the density of time `t`, with the noise of the step from `s0` to
    `s1`. `weight` is `h`, a function of the score and the noise of a move.

    Returns the state, and how many moves were kept.
    """
    path = require_path(owner, form)
    t = jnp.asarray(t, x.dtype)

    def score(x: Sample) -> Sample:
        return form.process.score(t, x, form.denoiser(t, x))

    def propose(i, x, slope):
        z = path.fresh(s0, s1, i).astype(x.dtype)
        h = jnp.asarray(weight(slope, z)).astype(x.dtype)
        return x + h * slope + jnp.sqrt(2 * h) * z, h

    if metropolis is None:

        def move(i, x):
            return propose(i, x, score(x))[0]

        return jax.lax.fori_loop(0, steps, move, x), jnp.asarray(steps)

    keys = path.fresh_key(s0, s1)

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
        drawn = jax.random.uniform(jax.random.fold_in(keys, i), (), x.dtype)
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

"""Every solver of the library reads a term by these."""

from collections.abc import Callable
from typing import Any, ClassVar, Literal, cast

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp

# diffrax hands solvers this wrapper of each term, and does not export it.
from diffrax._term import WrapTerm
from jaxtyping import Array, Int

from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..clocks import AbstractClock, Ode
from ..denoisers import AbstractDenoiser
from ..processes import Process
from ..terms import Drift, step_key, unit_increment

#: Where the noise of a solver comes from: the clock of its term, its own rule, or none.
Noise = Literal["clock", "own", "none"]

# What separates the uses of one key: the increments of the path are use 0. Each part
# of a step that draws on its own (a corrector after a predictor) has two more.
_FRESH, _OTHER, _USES = 1, 2, 2


class AbstractSolver(diffrax.AbstractItoSolver):
    """A diffrax solver that steps the family from operator to operator.

    It integrates the terms of [`softsde.terms`](terms.md), without a derivative of
    $C_t$. A subclass writes `step`, and `init` where it remembers something, as any
    diffrax solver does; [`softsde.solvers.Step`][] reads what it needs from its term.
    The noise is additive, so the Itô and the Stratonovich solutions are the same.
    """

    term_structure: ClassVar = diffrax.AbstractTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )
    #: Where its noise comes from: `"clock"`, `"own"` or `"none"`.
    noise: eqx.AbstractVar[Noise]
    #: How often a step evaluates the denoiser.
    evaluations_per_step: eqx.AbstractVar[int]
    #: Its order on the flow and weakly, and its strong order; `None` without a limit.
    orders: eqx.AbstractVar[tuple[int | None, int | None]]

    def order(self, terms):
        return self.orders[0]

    def strong_order(self, terms):
        return self.orders[1]

    def init(self, terms, t0, t1, y0, args) -> Any:
        """Checks the term. A solver that remembers something returns it here."""
        self.check(terms)

    def check(self, terms: Any) -> None:
        """Refuses a term that it cannot step, and a clock that it would ignore.

        **Raises:** `TypeError` for a term that is not of this library; `ValueError` for
        a clock that it would ignore, or a flow for a solver that draws noise.
        """
        drift, path = read_term(type(self).__name__, terms)
        check_noise(type(self).__name__, self.noise, drift.clock, path is not None)

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)


class Step(eqx.Module):
    """One step of a solver: everything that it reads from its term.

    The step goes from the time `t` of the process to `t_next`, starting at `x`.
    """

    drift: Drift
    path: diffrax.AbstractBrownianPath | None
    #: The ends of the step in the term's own time.
    s: Scalar
    s_next: Scalar
    x: Sample
    condition: Condition
    #: Which part of the step it is, where several draw noise: each draws its own.
    part: int = eqx.field(static=True)

    def __init__(self, owner, terms, s, s_next, x, condition, part=0):
        self.part = part
        self.drift, self.path = read_term(owner, terms)
        s = jnp.asarray(s)
        if isinstance(wrapped := _parts(terms)[0], WrapTerm):
            s = eqx.error_if(
                s,
                jnp.asarray(wrapped.direction) < 0,
                f"`{owner}` integrated from a later time to an earlier. The terms of "
                "softsde run forwards in their own time: use `t0=0` and "
                "`t1=process.t1 - process.t0`, also to go back in the time of the "
                "process (s = t1 - t).",
            )
        self.s, self.s_next = s, jnp.asarray(s_next)
        self.x, self.condition = x, condition

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.drift.process

    @property
    def t(self) -> Scalar:
        """The time of the process at the start of the step."""
        return self.drift.time(self.s.astype(self.x.dtype))

    @property
    def t_next(self) -> Scalar:
        """The time of the process at the end of the step."""
        return self.drift.time(self.s_next.astype(self.x.dtype))

    @property
    def denoiser(self) -> AbstractDenoiser:
        """The denoiser of the term."""
        return self.drift.denoiser

    def predict(self, t: ScalarLike, x: Sample) -> Sample:
        """`E[x0 | x_t = x]`: one evaluation of the denoiser."""
        return self.drift.denoiser(jnp.asarray(t, x.dtype), x, self.condition)

    def injected(self) -> Scalar:
        r"""$\Delta\Lambda$: the variance that the clock injects in the step."""
        return self.drift.clock.variance(self.process, self.t, self.t_next)

    def mu(self) -> Scalar:
        r"""$\mu = \int d\Lambda / \sigma^2$: the same, relative to the noise there."""
        return self.drift.clock.mu(self.process, self.t, self.t_next)

    def noise(self, std: Scalar) -> Sample:
        """The noise of the step, of a given standard deviation; zero on the flow."""
        if self.path is None or isinstance(self.drift.clock, Ode):
            return jnp.zeros_like(self.x)
        xi = unit_increment(self.path, self.s, self.s_next).astype(self.x.dtype)
        return std.astype(self.x.dtype) * xi

    def fresh(self, index: int | Int[Array, ""] = 0) -> Sample:
        """A standard normal of the solver's own, which is not the clock's.

        **Arguments:**

        - `index`: which of the step's normals: any number may be asked for.
        """
        key = self._key(_FRESH)
        return self.process.draw_noise(jax.random.fold_in(key, index), self.x)

    def key(self) -> Key:
        """A key that belongs to the step, for draws other than those of `fresh`."""
        return self._key(_OTHER)

    def _key(self, use: int) -> Key:
        use = use + _USES * self.part
        return step_key(_key_of(self.path), use, self.s, self.s_next)


def finish(x: Sample, x_next: Sample, state: Any = None, error: Sample | None = None):
    """Makes what `step` returns to diffrax."""
    dense = dict(y0=x, y1=x_next)
    return x_next, error, dense, state, diffrax.RESULTS.successful


def score_from(process: Process, t: Scalar, gap: Sample) -> Sample:
    r"""Tweedie: $\nabla\log q_t = (C_t D - x) / \sigma_t^2$, from the gap $C_t D - x$.

    Zero where there is no noise at any time, since its weight is zero there.
    """
    if process.is_noiseless:
        return jnp.zeros_like(gap)
    return gap / process.sigma(t) ** 2


def noise_ratio(process: Process, t: Scalar, t_next: Scalar) -> Scalar:
    r"""$\sigma_{t'} / \sigma_t$; without noise 1, so that all of the residual is kept:
    the sampler of Cold Diffusion."""
    return jnp.exp(-process.log_sigma_ratio(t, t_next))


def check_noise(owner: str, noise: Noise, clock: AbstractClock, has_path: bool) -> None:
    """Refuses a clock that would be ignored, and a flow where noise is drawn.

    **Raises:** `ValueError`, with the term to use.
    """
    if noise != "clock" and not isinstance(clock, Ode):
        own = noise == "own"
        does = "draws noise by a rule of its own" if own else "draws no noise"
        instead = (
            "`softsde.reverse_sde(denoiser, clock='ode', key=key, shape=shape)`"
            if own
            else "`softsde.probability_flow(denoiser)`"
        )
        raise ValueError(
            f"`{owner}` {does} and would ignore the clock `{type(clock).__name__}`. "
            f"Use {instead}, or with `softsde.sample` leave `clock` out. `Momentum`, "
            "`Heun` and `Multistep` follow a clock."
        )
    if noise == "own" and not has_path:
        raise ValueError(
            f"`{owner}` draws noise of its own, and a probability flow has none to "
            "draw. Use `softsde.reverse_sde(denoiser, clock='ode', key=key, "
            "shape=shape)`, which is the flow with noise at hand."
        )


def read_term(
    owner: str, terms: Any
) -> tuple[Drift, diffrax.AbstractBrownianPath | None]:
    """The drift, and the path of the noise or `None`, out of what diffrax hands over.

    **Raises:** `TypeError` for any other term.
    """
    parts = [p.term if isinstance(p, WrapTerm) else p for p in _parts(terms)]
    drift, path = parts[0], None
    if len(parts) == 2 and isinstance(parts[1], diffrax.ControlTerm):
        path = cast(diffrax.AbstractBrownianPath, parts[1].control)
    if not isinstance(drift, Drift) or len(parts) != (1 if path is None else 2):
        raise TypeError(
            f"`{owner}` steps a term of softsde, got {type(drift).__name__}. Make one "
            "with `softsde.reverse_sde(denoiser, key=key, shape=shape)` or "
            "`softsde.probability_flow(denoiser)`."
        )
    return drift, path


def _parts(terms: Any) -> tuple[Any, ...]:
    if isinstance(terms, WrapTerm) and isinstance(terms.term, diffrax.MultiTerm):
        terms = terms.term
    return tuple(terms.terms) if isinstance(terms, diffrax.MultiTerm) else (terms,)


def _key_of(path: Any) -> Key:
    try:
        return path.key
    except AttributeError:
        raise TypeError(
            "This solver draws noise of its own, and a "
            f"`{type(path).__name__}` has no key to draw it from. Use a "
            "`diffrax.VirtualBrownianTree`, or let `softsde.reverse_sde(denoiser, "
            "clock='ode', shape=shape, key=key)` make a path."
        ) from None

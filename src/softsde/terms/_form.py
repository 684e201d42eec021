r"""What the control and the normalised form share: the family itself, and its clock.

Both are one family of stochastic differential equations, driven by the paths $C$ and
$\sigma^2$ and by Brownian motion on a clock $\Lambda$, and all of its members have the
marginals of the process, in either direction of time. The forms differ in what they
hold while a step lasts.
"""

import abc
from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp

# diffrax hands solvers this wrapper of the term, and does not export it.
from diffrax._term import WrapTerm
from jaxtyping import Array, Bool

from .._types import DenoiserFn, Sample, Scalar, ScalarLike
from ..processes import Process
from ._brownian import ClockedBrownianPath
from ._clock import FlowClock


class AbstractForm(diffrax.AbstractTerm):
    """A term of the family, for the solvers of the library to step.

    Integrate it forwards from 0 to `t1 - t0`. Made by [`softsde.reverse_sde`][],
    [`softsde.probability_flow`][] and [`softsde.forward_sde`][].
    """

    process: eqx.AbstractVar[Process]
    denoiser: eqx.AbstractVar[DenoiserFn]
    #: `None` where nothing is drawn. On a clock that rests there may still be a path,
    #: for solvers that draw noise of their own.
    brownian: eqx.AbstractVar[ClockedBrownianPath | None]
    #: Whether the term's own time `s` runs from the data to the corruption,
    #: `t = t0 + s`, instead of back, `t = t1 - s`.
    forward: eqx.AbstractVar[bool]

    @property
    def driving(self) -> ClockedBrownianPath | None:
        """The path that drives the equation: `None` for the probability flow."""
        if self.brownian is None or isinstance(self.brownian.clock, FlowClock):
            return None
        return self.brownian

    def time(self, s: ScalarLike) -> Scalar:
        """The time of the process when the term's own is `s`."""
        return process_time(self.process, s, forward=self.forward)

    def predict(self, s: ScalarLike, y: Sample) -> Sample:
        """The posterior mean `E[x0 | x_t = y]`: one evaluation of the denoiser."""
        return self.denoiser(self.time(jnp.asarray(s, y.dtype)), y)

    @abc.abstractmethod
    def between(self, start: Any, end: Any) -> Any:
        """What stands for a whole step, of the fields at its two ends."""


def process_time(process: Process, s: ScalarLike, *, forward: bool) -> Scalar:
    """The time of the process at `s` of the clock of a term, which starts at 0."""
    s = jnp.asarray(s)
    return process.t0 + s if forward else process.t1 - s


def form_term(owner: str, term: object) -> AbstractForm:
    """The term that a solver was given, out of diffrax's wrapper.

    **Raises:** `TypeError` for any other term.
    """
    if isinstance(term, WrapTerm):
        term = term.term
    if not isinstance(term, AbstractForm):
        raise TypeError(
            f"`{owner}` steps a term in control or normalised form, got "
            f"{type(term).__name__}. Make one with `softsde.reverse_sde(process, "
            "denoiser, key=key, shape=shape)` or `softsde.probability_flow(process, "
            "denoiser)`."
        )
    return term


def running_forwards(term: object, s: Scalar) -> Scalar:
    """`s`, with an error when diffrax integrates from a later time to an earlier."""
    if not isinstance(term, WrapTerm):
        return s
    return not_backwards(s, jnp.asarray(term.direction) > 0)


def not_backwards(value: Scalar, forwards: Bool[Array, ""]) -> Scalar:
    """`value`, with an error unless `forwards`."""
    return eqx.error_if(
        value,
        ~forwards,
        "Integrated from a later time to an earlier. The terms of softsde run forwards "
        "in their own clock: use `t0=0` and `t1=process.t1 - process.t0`, also to go "
        "back in the time of the process (s = t1 - t).",
    )

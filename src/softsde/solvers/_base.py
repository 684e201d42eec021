"""What every solver of the library shares: the term that it steps, and its cost."""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import diffrax
import equinox as eqx
import jax.numpy as jnp

from .._types import Sample, Scalar
from ..terms import AbstractForm
from ..terms._form import form_term, running_forwards


class Advance(NamedTuple):
    """Where a step leads."""

    y1: Sample
    #: What the solver remembers for its next step.
    state: Any = None
    #: An estimate of the error, from solvers that have one.
    error: Sample | None = None


class AbstractReverseSolver(diffrax.AbstractItoSolver):
    """A diffrax solver that steps the family in control or normalised form.

    A subclass says what it wants of its term and remembers (`start`), how it takes a
    step (`advance`), and how often that evaluates the denoiser, from which
    [`softsde.sample`][] counts its NFE. The noise is additive, so the Itô and the
    Stratonovich solutions are the same.
    """

    term_structure: ClassVar = AbstractForm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )
    #: How often a step evaluates the denoiser.
    evaluations_per_step: eqx.AbstractVar[int]
    #: Whether it draws noise of its own, beyond what the clock of its term injects. Its
    #: term must then have a path, also for the probability flow.
    draws_noise: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def start(self, form: AbstractForm, s0: Scalar, y0: Sample) -> Any:
        """Checks the term, and gives what is remembered before the first step."""

    @abc.abstractmethod
    def advance(
        self,
        form: AbstractForm,
        s0: Scalar,
        s1: Scalar,
        y0: Sample,
        state: Any,
        made_jump: Any,
    ) -> Advance:
        """One step, from the term's time `s0` to `s1`."""

    def init(self, terms, t0, t1, y0, args):
        return self.start(form_term(type(self).__name__, terms), jnp.asarray(t0), y0)

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        form = form_term(type(self).__name__, terms)
        s0, s1 = running_forwards(terms, jnp.asarray(t0)), jnp.asarray(t1)
        y1, state, error = self.advance(form, s0, s1, y0, solver_state, made_jump)
        return y1, error, dict(y0=y0, y1=y1), state, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

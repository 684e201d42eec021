"""What every solver of the library shares: the term that it steps, and its cost."""

from collections.abc import Callable
from typing import ClassVar

import diffrax
import equinox as eqx

from ..terms import ReverseControlTerm


class AbstractReverseSolver(diffrax.AbstractItoSolver):
    """A diffrax solver that steps the reverse family in control form.

    A subclass writes `init` and `step`, as for any diffrax solver, and says how often a
    step evaluates the denoiser, from which [`softsde.sample`][] counts its NFE. The
    noise is additive, so the Itô and the Stratonovich solutions are the same.
    """

    term_structure: ClassVar = ReverseControlTerm
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )
    #: How often a step evaluates the denoiser.
    evaluations_per_step: eqx.AbstractVar[int]
    #: Whether it draws noise of its own, beyond what the clock of its term injects. Its
    #: term must then have a path, also for the probability flow.
    draws_noise: eqx.AbstractVar[bool]

    def func(self, terms, t0, y0, args):
        return terms.vf(t0, y0, args)

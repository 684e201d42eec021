"""What a corrector is: a move that leaves the density of one time as it is."""

import abc

import equinox as eqx

from .._types import Sample, ScalarLike
from ..terms import AbstractForm


class AbstractCorrector(eqx.Module):
    r"""Amends what a predictor made of a step, without a step in time.

    It acts at the end $t'$ of the step. Applied to a draw of $q_{t'}$ it returns one,
    in the limit of its own small steps, so it takes back some of the predictor's error.
    Used by [`softsde.PredictorCorrector`][].
    """

    #: How often a correction evaluates the denoiser.
    evaluations_per_step: eqx.AbstractVar[int]
    #: Whether it draws noise.
    draws_noise: eqx.AbstractVar[bool]

    @abc.abstractmethod
    def correct(
        self,
        form: AbstractForm,
        s0: ScalarLike,
        s1: ScalarLike,
        before: Sample,
        after: Sample,
    ) -> Sample:
        """The state at the end of a step, amended.

        **Arguments:**

        - `form`: the term that the predictor stepped.
        - `s0`, `s1`: the ends of the step, in the term's own clock.
        - `before`, `after`: the state at the one, and what the predictor says of the
            other.
        """

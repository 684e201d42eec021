"""A Langevin chain as a solver and as a corrector: the same moves, in both roles."""

import abc
from collections.abc import Callable
from typing import ClassVar

import equinox as eqx

from .._types import Sample, Scalar
from ..terms import AbstractForm
from ._base import AbstractReverseSolver, Advance
from ._chain import (
    LangevinRecord,
    Metropolis,
    chain_evaluations,
    langevin_chain,
    new_record,
    require_path,
)
from ._correctors import AbstractCorrector


class AbstractChain(AbstractReverseSolver, AbstractCorrector):
    """`steps` moves at each step of a solve; a subclass says where and how far."""

    steps: eqx.AbstractVar[int]
    metropolis: eqx.AbstractVar[Metropolis]

    draws_noise: ClassVar[bool] = True

    @property
    def evaluations_per_step(self) -> int:
        return chain_evaluations(self.steps, self.metropolis)

    @abc.abstractmethod
    def check_form(self, form: AbstractForm) -> None:
        """Refuses a term on which the chain cannot run."""

    @abc.abstractmethod
    def time_and_weight(
        self, form: AbstractForm, s0: Scalar, s1: Scalar, x: Sample
    ) -> tuple[Scalar, Callable[[Sample, Sample], Scalar]]:
        """The time whose density is sampled, and `h` by the score and the noise."""

    def order(self, terms):
        return None

    def strong_order(self, terms):
        return None

    def start(self, form, s0, y0):
        require_path(type(self).__name__, form)
        self.check_form(form)
        return new_record()

    def advance(self, form, s0, s1, y0, state, made_jump):
        del made_jump
        y1, accepted = self._move(form, s0, s1, y0)
        record = LangevinRecord(state.proposed + self.steps, state.accepted + accepted)
        return Advance(y1, record)

    def correct(self, form, s0, s1, before, after):
        del before
        return self._move(form, s0, s1, after)[0]

    def _move(self, form, s0, s1, x):
        t, weight = self.time_and_weight(form, s0, s1, x)
        owner = type(self).__name__
        return langevin_chain(
            owner, form, s0, s1, t, x, weight, self.steps, self.metropolis
        )

"""A denoiser whose network is traced once in a program."""

from collections.abc import Callable

import equinox as eqx

from .._types import Condition, Key, Sample, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process


class TracedOnce(AbstractDenoiser):
    """A denoiser that is traced once, however often a solver and diffrax call it."""

    denoiser: AbstractDenoiser
    call: Callable[..., Sample] = eqx.field(static=True)

    def __init__(self, denoiser: AbstractDenoiser):
        self.denoiser = denoiser
        # A function of this object alone: what it traced is forgotten with it.
        self.call = eqx.filter_jit(lambda inner, t, x, told: inner(t, x, told))

    @property
    def process(self) -> Process:
        """The process of the denoiser."""
        return self.denoiser.process

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        del key
        return self.call(self.denoiser, t, x, condition)

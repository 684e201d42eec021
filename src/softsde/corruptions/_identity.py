"""The corruption that leaves the sample alone: the classic, noise-only diffusions."""

from .._types import Sample, ScalarLike
from ._base import AbstractCorruption


class Identity(AbstractCorruption):
    r"""$C(\theta) = I$: with it a process corrupts by noise alone (VE, NCSN)."""

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        del theta
        return x

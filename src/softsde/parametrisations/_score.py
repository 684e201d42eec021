"""The network predicts the score."""

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractCorruptedParametrisation
from ._checks import time_like


class Score(AbstractCorruptedParametrisation):
    r"""$s = (C_t \hat x_0 - x_t) / \sigma_t^2$: the network predicts the score (Eq. 1).

    A score grows as $1 / \sigma_t$; a network for it divides its output so (NCSN), or
    predicts [`softsde.parametrisations.Noise`][], which is the score times $-\sigma_t$.
    """

    def to_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        return x + process.sigma(time_like(t, x)) ** 2 * output

    def from_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, corrupted: Sample
    ) -> Sample:
        return (corrupted - x) / process.sigma(time_like(t, x)) ** 2

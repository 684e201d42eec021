"""The plainest parametrisation: the network predicts the clean image."""

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractParametrisation


class Clean(AbstractParametrisation):
    r"""$\hat x_0 = \phi_\theta(x_t, t)$: the network predicts the clean image."""

    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        del process, t, x
        return output

    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        del process, t, x
        return x0_hat

"""The paper's parametrisation: the network predicts what the corruption took away."""

from .._types import Sample, ScalarLike
from ..processes import Process
from ._base import AbstractParametrisation


class Residual(AbstractParametrisation):
    r"""$\hat x_0 = x_t + \phi_\theta(x_t, t)$: the network predicts the residual.

    The paper's choice (Section 3.1): where little is corrupted there is little to
    predict, and a network that outputs zero is the identity.
    """

    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        del process, t
        return x + output

    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        del process, t
        return x0_hat - x

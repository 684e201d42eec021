"""What a parametrisation is: a reading of a network's output."""

import abc

import equinox as eqx

from .._types import Sample, ScalarLike
from ..processes import Process


class AbstractParametrisation(eqx.Module):
    """Reads a network's output as the posterior mean `E[x0 | x_t]`."""

    @abc.abstractmethod
    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        """The clean image that `output` stands for.

        **Arguments:**

        - `process`: the process that made `x`.
        - `t`, `x`: time and noisy sample that the network saw.
        - `output`: what it said, shaped like `x`.

        **Returns:** the estimate of `E[x0 | x_t = x]`.
        """

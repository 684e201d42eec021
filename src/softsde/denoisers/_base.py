"""A denoiser is the posterior mean of one process."""

import abc

import equinox as eqx

from .._types import Condition, Key, Sample, ScalarLike
from ..processes import Process


class AbstractDenoiser(eqx.Module):
    """A posterior mean `E[x0 | x_t = x, condition]` of a process that it knows.

    Everything that samples, trains or measures takes a denoiser alone: the process
    comes with it. A subclass has an attribute or a property `process`, and writes
    `__call__`.

    !!! example

        ```python
        class Shrink(ss.denoisers.AbstractDenoiser):
            process: ss.Process

            def __call__(self, t, x, condition=None, *, key=None):
                return x / (1 + self.process.sigma(t) ** 2)
        ```
    """

    process: eqx.AbstractVar[Process]

    @abc.abstractmethod
    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        """The posterior mean of one sample.

        **Arguments:**

        - `t`: time, a scalar.
        - `x`: one noisy sample.
        - `condition`: what is known beside `x`, or `None`.
        - `key`: for dropout; `None` for inference.

        **Returns:** an array shaped like `x`.
        """

r"""The exact prior of data that an oracle describes."""

import equinox as eqx
import jax

from .._types import Key, Sample, Scalar
from ..oracles import AbstractOracle
from ..processes import Process
from ._prior import AbstractPrior


class ExactPrior(AbstractPrior):
    r"""The exact law $q_T$ of $x_T$ for data that an oracle describes.

    !!! example

        ```python
        oracle = ss.oracles.EmpiricalOracle(images)
        prior = ss.ExactPrior(oracle, process)
        x1 = prior.sample(key)
        ```
    """

    oracle: AbstractOracle
    process: Process
    time: float = eqx.field(static=True)

    def __init__(
        self, oracle: AbstractOracle, process: Process, *, time: float | None = None
    ):
        """**Arguments:**

        - `oracle`: the law of the data.
        - `process`: that corrupts.
        - `time`: the time $T$ at which sampling will start; by default the last.
        """
        self.oracle = oracle
        self.process = process
        self.time = process.t1 if time is None else float(time)

    def sample(self, key: Key) -> Sample:
        data_key, noise_key = jax.random.split(key)
        x0 = self.oracle.sample(data_key)
        return self.process.perturb(self.time, x0, key=noise_key)[0]

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density of $q_T$ at `x`."""
        return self.oracle.log_prob(self.process, self.time, x)

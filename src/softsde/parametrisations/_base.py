"""A parametrisation is a reading of a network's output, and of its input."""

import abc

import equinox as eqx

from .._types import Sample, ScalarLike
from ..processes import Process
from ._checks import require_nonzero, time_like


class AbstractParametrisation(eqx.Module):
    """Reads a network's output as the posterior mean `E[x0 | x_t]`.

    A subclass writes the two directions, `to_clean` and `from_clean`. It may also say
    what the network is shown (`network_input`), and which processes it cannot serve
    (`check`); by default the network sees `t` and `x`, and every process is served.
    """

    @abc.abstractmethod
    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        """The clean sample that `output` stands for.

        **Arguments:**

        - `process`: the process that made `x`.
        - `t`, `x`: time and noisy sample.
        - `output`: what the network said of them, shaped like `x`.

        **Returns:** the estimate of `E[x0 | x_t = x]`.

        **Raises:** `ValueError` where `output` does not determine it.
        """

    @abc.abstractmethod
    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        """The output that stands for a clean sample: the inverse of `to_clean`.

        **Arguments:** as `to_clean`, with the clean sample for the last.

        **Returns:** an array shaped like `x`.
        """

    def network_input(
        self, process: Process, t: ScalarLike, x: Sample
    ) -> tuple[ScalarLike, Sample]:
        """The inputs that the network is shown in the place of `t` and `x`."""
        del process
        return t, x

    def check(self, process: Process) -> None:
        """Refuses, before any compute, a process whose clean sample it cannot give.

        **Raises:** `ValueError`, with the reason.
        """
        del process


class AbstractCorruptedParametrisation(AbstractParametrisation):
    r"""A parametrisation whose output determines $C_t E[x_0|x_t]$, and no more.

    For any corruption such outputs convert into one another. The clean sample itself
    follows only where $C_t$ is a factor that is not zero: nothing here divides by a
    singular $C_t$.
    """

    @abc.abstractmethod
    def to_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        r"""$C_t E[x_0|x_t]$, from the output.

        **Arguments:** as `to_clean`.

        **Returns:** an array shaped like `x`.
        """

    @abc.abstractmethod
    def from_corrupted(
        self, process: Process, t: ScalarLike, x: Sample, corrupted: Sample
    ) -> Sample:
        r"""The output, from $C_t E[x_0|x_t]$.

        **Arguments:** as `to_clean`, with the corrupted clean sample for the last.

        **Returns:** an array shaped like `x`.
        """

    def to_clean(
        self, process: Process, t: ScalarLike, x: Sample, output: Sample
    ) -> Sample:
        self._require_inverse(process)
        factor = process.signal(time_like(t, x))
        require_nonzero(f"`{type(self).__name__}.to_clean`", "alpha_t", factor)
        return self.to_corrupted(process, t, x, output) / factor

    def from_clean(
        self, process: Process, t: ScalarLike, x: Sample, x0_hat: Sample
    ) -> Sample:
        return self.from_corrupted(process, t, x, process.apply(t, x0_hat))

    def check(self, process: Process) -> None:
        self._require_inverse(process)
        last = process.signal(process.t1)
        require_nonzero(f"`{type(self).__name__}`", f"alpha({process.t1})", last)

    def _require_inverse(self, process: Process) -> None:
        if not process.is_scaling:
            raise ValueError(
                f"`{type(self).__name__}` determines C_t E[x0|x_t], which is "
                "`process.apply(t, x0)`, and no more. The clean sample asks for the "
                f"inverse of C_t, which `{type(process.corruption).__name__}` need not "
                "have. Let the network predict it, with `Residual` or `Clean`."
            )

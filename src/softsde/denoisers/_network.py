"""A network, read through a parametrisation, as a denoiser."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from .._fixed import Fixed
from .._opaque import as_module
from .._types import Condition, Key, Sample, ScalarLike
from ..parametrisations import AbstractParametrisation, default_for
from ..processes import Process
from ._base import AbstractDenoiser
from ._function import check_process


class Denoiser(AbstractDenoiser):
    """A network read through a parametrisation: `E[x0 | x_t]` of a process.

    Train it as a whole: its process is fixed, whatever the optimiser does.

    !!! example

        ```python
        network = ss.nn.UNet(shape=(28, 28, 1), key=key)
        denoiser = ss.Denoiser(network, process)
        x0_hat = denoiser(t, x_t)
        ```
    """

    network: Callable[..., Sample]
    parametrisation: AbstractParametrisation
    _process: Process | Fixed[Process]

    def __init__(
        self,
        network: Callable[..., Sample],
        process: Process,
        parametrisation: AbstractParametrisation | None = None,
        *,
        train_process: bool = False,
    ):
        """**Arguments:**

        - `network`: `network(t, x, condition, *, key)`, its output shaped like `x`.
        - `process`: that it denoises.
        - `parametrisation`: how its output is read; by default
            [`softsde.parametrisations.default_for`][] the process.
        - `train_process`: whether derivatives and optimisers reach the arrays of the
            process (those of its schedules, say). By default they do not. Python
            numbers are constants in any case.

        **Raises:** `ValueError` for a parametrisation that cannot give the clean sample
        of this process, or a network that sees the noise of a process whose noise is
        zero at `t0`; `TypeError` for a network that cannot be called, or a process
        that is none.
        """
        if not callable(network):
            raise TypeError(
                f"`Denoiser` got {type(network).__name__} for `network`; expected a "
                "function or a module `network(t, x, condition, *, key)`."
            )
        check_process("Denoiser", process)
        if parametrisation is None:
            parametrisation = default_for(process)
        parametrisation.check(process)
        sees = _sees(network)
        if sees is not None and sees.needs_noise:
            process.require_noise(f"`{type(network).__name__}`, which sees the noise,")
        self.network = as_module(network)
        self.parametrisation = parametrisation
        self._process = process if train_process else Fixed(process)

    @property
    def train_process(self) -> bool:
        """Tells whether derivatives and optimisers reach the numbers of the process."""
        return not isinstance(self._process, Fixed)

    @property
    def process(self) -> Process:
        """The process that it denoises."""
        held = self._process
        return held.get() if isinstance(held, Fixed) else held

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        process, t = self.process, jnp.asarray(t, x.dtype)
        output = self.network_output(t, x, condition, key=key)
        return self.parametrisation.to_clean(process, t, x, output)

    def network_output(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        """The output of the network itself, which the parametrisation reads.

        The parametrisation says what the network is given in the place of `t` and `x`.
        A network with an attribute `sees` ([`softsde.nn.AbstractSees`][]) chooses the
        first of the two itself.

        **Arguments:** as for a call of the denoiser.

        **Returns:** an array shaped like `x`.
        """
        process, t = self.process, jnp.asarray(t, x.dtype)
        seen, shown = self.parametrisation.network_input(process, t, x)
        sees = _sees(self.network)
        if sees is not None:
            # 999 t, say, has more digits than bfloat16.
            narrow = jnp.finfo(t.dtype).bits < 32
            t = t.astype(jnp.float32) if narrow else t
            seen = sees(t, process.sigma(t))
        return self.network(seen, shown, condition, key=key)


def _sees(network: Callable[..., Sample]) -> Any:
    """The network's `sees`, or `None` if it has none."""
    return getattr(network, "sees", None)

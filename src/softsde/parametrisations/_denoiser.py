"""Networks become denoisers here; whatever is called `(t, x)` may be used as one."""

import abc
from collections.abc import Callable

import equinox as eqx

from .._types import DenoiserFn, Key, Sample, ScalarLike
from ..processes import Process
from ._base import AbstractParametrisation
from ._residual import Residual


class AbstractDenoiser(eqx.Module):
    """A denoiser that can use randomness of its own (dropout) while it is trained.

    Any callable `denoiser(t, x) -> x0_hat` serves wherever a denoiser is asked for.
    This base marks those that also take a key.
    """

    @abc.abstractmethod
    def __call__(self, t: ScalarLike, x: Sample, *, key: Key | None = None) -> Sample:
        """The posterior mean `E[x0 | x_t = x]`; `key=None` for inference."""


class Denoiser(AbstractDenoiser):
    """A network read through a parametrisation: `E[x0 | x_t]` of a process.

    !!! example

        ```python
        network = ss.nn.UNet(shape=(28, 28, 1), key=key)
        denoiser = ss.Denoiser(network, process)
        x0_hat = denoiser(t, x_t)
        ```
    """

    network: Callable[..., Sample]
    process: Process
    parametrisation: AbstractParametrisation

    def __init__(
        self,
        network: Callable[..., Sample],
        process: Process,
        parametrisation: AbstractParametrisation | None = None,
    ):
        """**Arguments:**

        - `network`: `network(t, x, *, key=None)`, its output shaped like `x`.
        - `process`: that it denoises.
        - `parametrisation`: how its output is read; by default
            [`softsde.parametrisations.Residual`][], the paper's.

        **Raises:** `ValueError` for a parametrisation that cannot give this process'
        clean sample.
        """
        self.network = network
        self.process = process
        self.parametrisation = (
            Residual() if parametrisation is None else parametrisation
        )
        self.parametrisation.check(process)

    def __call__(self, t: ScalarLike, x: Sample, *, key: Key | None = None) -> Sample:
        shown = self.parametrisation.network_input(self.process, t, x)
        output = self.network(*shown, key=key)
        return self.parametrisation.to_clean(self.process, t, x, output)


def call_denoiser(denoiser: DenoiserFn, t: ScalarLike, x: Sample, key: Key) -> Sample:
    """Calls any denoiser, with `key` when it is one that takes it."""
    if isinstance(denoiser, AbstractDenoiser):
        return denoiser(t, x, key=key)
    return denoiser(t, x)

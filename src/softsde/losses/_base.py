"""A loss is a function of a denoiser, one clean sample and one time."""

import abc
from typing import Any

import equinox as eqx

from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser


class AbstractLoss(eqx.Module):
    """A loss of one clean sample at one time. A subclass writes `__call__`.

    !!! example

        ```python
        class CleanError(ss.losses.AbstractLoss):
            def __call__(self, denoiser, x0, t, condition=None, *, key):
                x_t, _ = denoiser.process.perturb(t, x0, key=key)
                return jnp.mean(jnp.abs(denoiser(t, x_t, condition) - x0))
        ```
    """

    @abc.abstractmethod
    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        """The loss of one sample at one time.

        **Arguments:**

        - `denoiser`: the denoiser to be trained. Its process corrupts `x0`.
        - `x0`: one clean sample.
        - `t`: one time.
        - `condition`: what the denoiser is told beside the sample, or `None`.
        - `key`: for the noise, the denoiser's dropout and the loss's own draws.

        **Returns:** a scalar.

        **Raises:** `TypeError` for a denoiser that is none, such as a bare network.
        """


def check_denoiser(owner: str, denoiser: Any) -> None:
    if not isinstance(denoiser, AbstractDenoiser):
        raise TypeError(
            f"`{owner}` got {type(denoiser).__name__} for `denoiser`; expected a "
            "denoiser, which knows its process. Wrap a network in "
            "`softsde.Denoiser(network, process)`, or a function `fn(t, x)` in "
            "`softsde.FunctionDenoiser(fn, process)`."
        )

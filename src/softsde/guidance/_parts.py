"""Guided denoisers share checks, and the times at which guidance is on."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._types import Condition, Key, Sample, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process

Interval = tuple[float, float] | None


def check_denoiser(owner: str, name: str, denoiser: Any) -> AbstractDenoiser:
    if not isinstance(denoiser, AbstractDenoiser):
        raise TypeError(
            f"`{owner}` got {type(denoiser).__name__} for `{name}`; expected a "
            "denoiser, such as `ss.Denoiser(network, process)` or "
            "`ss.FunctionDenoiser(fn, process)`."
        )
    return denoiser


def as_scale(scale: Float[ArrayLike, "..."]) -> Float[Array, "..."]:
    # An array, so that a sampler that was compiled once serves all scales.
    return jnp.asarray(scale, jnp.result_type(float))


def as_interval(interval: Interval) -> Interval:
    """Two floats that rise, or `None`."""
    if interval is None:
        return None
    if len(interval) != 2 or not interval[0] < interval[1]:
        raise ValueError(
            f"guidance got `interval={interval}`; expected two times `(t_low, t_high)` "
            "with t_low < t_high. They are times of the process, not noise levels."
        )
    low, high = interval
    return float(low), float(high)


class AbstractGuidance(AbstractDenoiser):
    """A denoiser that is guided at the times of an interval, and plain at others."""

    denoiser: eqx.AbstractVar[AbstractDenoiser]
    scale: eqx.AbstractVar[Float[Array, "..."]]
    interval: eqx.AbstractVar[Interval]

    @abc.abstractmethod
    def guided(self, t: Array, x: Sample, condition: Condition, key: Any) -> Sample:
        """The guided prediction at a time of the interval."""

    @property
    def process(self) -> Process:
        """The process of the denoiser that is guided."""
        return self.denoiser.process

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        t = jnp.asarray(t, x.dtype)
        guided = lambda: self.guided(t, x, condition, key)
        if self.interval is None:
            return guided()
        low, high = self.interval
        plain = lambda: self.denoiser(t, x, condition, key=key)
        # `where` would evaluate both. A cond stays one under `vmap` if all share `t`.
        return jax.lax.cond((low <= t) & (t <= high), guided, plain)

"""What guided denoisers share: checks, and the times at which guidance is on."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from .._types import Sample
from ..denoisers import AbstractDenoiser

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


def guide_within(
    interval: Interval,
    t: Array,
    guided: Callable[[], Sample],
    plain: Callable[[], Sample],
) -> Sample:
    """`guided()` where `t` lies in the interval, `plain()` elsewhere; never both."""
    if interval is None:
        return guided()
    low, high = interval
    # `where` would evaluate both. A cond stays one under `vmap` if all share `t`.
    return jax.lax.cond((low <= t) & (t <= high), guided, plain)

"""Weights in time: the factor in front of the squared residual."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process

WeightName: TypeAlias = Literal[
    "one", "inverse_std", "inverse_variance", "inverse_variance_squared"
]
Weight: TypeAlias = WeightName | Callable[[ScalarLike], Scalar]

_POWERS: dict[str, int] = {
    "one": 0,
    "inverse_std": 1,
    "inverse_variance": 2,
    "inverse_variance_squared": 4,
}


def weight_function(weight: Weight, process: Process) -> Callable[[ScalarLike], Scalar]:
    r"""The weight as a function of time.

    **Arguments:**

    - `weight`: `"one"` (the paper's choice in practice), `"inverse_std"`
        ($1/\sigma_t$), `"inverse_variance"`
        ($1/\sigma_t^2$), `"inverse_variance_squared"` ($1/\sigma_t^4$, which makes Soft
        Score Matching equal to denoising score matching), or a callable of time.
    - `process`: whose noise it is.

    **Returns:** a callable of time.

    **Raises:** `ValueError` for an unknown name, or where the weight would divide by a
    zero `sigma`.
    """
    if callable(weight):
        return weight
    if weight not in _POWERS:
        raise ValueError(
            f"Unknown weight {weight!r}; expected one of {tuple(_POWERS)} or a "
            "callable of time."
        )
    power = _POWERS[weight]
    if power == 0:
        return lambda t: jnp.ones_like(jnp.asarray(t))
    process.require_noise(f"The weight {weight!r}")
    return lambda t: process.sigma(t) ** (-power)

"""Weights in time: the factor in front of the squared residual."""

from collections.abc import Callable
from typing import Literal, TypeAlias

import jax.numpy as jnp

from .._types import Scalar, ScalarLike
from ..processes import Process

WeightFunction: TypeAlias = Callable[[Process, ScalarLike], Scalar]
WeightName: TypeAlias = Literal[
    "one", "inverse_std", "inverse_variance", "inverse_variance_squared"
]
Weight: TypeAlias = WeightName | WeightFunction

# The powers of 1 / sigma.
_POWERS: dict[str, int] = {
    "one": 0,
    "inverse_std": 1,
    "inverse_variance": 2,
    "inverse_variance_squared": 4,
}


def weight_function(weight: Weight) -> WeightFunction:
    r"""A weight by its name, as a function of a process and a time.

    **Arguments:**

    - `weight`: `"one"`; `"inverse_std"`, $1/\sigma_t$; `"inverse_variance"`,
        $1/\sigma_t^2$, with which the paper trains all of its models (Appendix D);
        `"inverse_variance_squared"`, $1/\sigma_t^4$, with which Soft Score Matching is
        denoising score matching; or a function `(process, t) -> scalar`, which is
        returned as it is.

    **Returns:** a function `(process, t) -> scalar`. Those that divide refuse a process
    without noise at `t0`.

    **Raises:** `ValueError` for an unknown name.

    !!! example

        ```python
        weight = ss.losses.weight_function("inverse_variance")
        weight(process, t)
        ```
    """
    if callable(weight):
        return weight
    check_weight("weight_function", weight)
    power = _POWERS[weight]

    def of_sigma(process: Process, t: ScalarLike) -> Scalar:
        t = jnp.asarray(t)
        if power == 0:
            return jnp.ones_like(t)
        process.require_noise(f"The weight {weight!r}, unlike 'one',")
        return process.sigma(t) ** (-power)

    return of_sigma


def check_weight(owner: str, weight: Weight) -> None:
    if not callable(weight) and weight not in _POWERS:
        raise ValueError(
            f"Unknown weight {weight!r} for `{owner}`; expected one of "
            f"{tuple(_POWERS)}, or a function `(process, t) -> scalar`."
        )

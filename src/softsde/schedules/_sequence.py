"""Discrete noise levels, on which annealed score matching trains and samples."""

import math
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_positive


def _geometric(u, first, last):
    return first * (last / first) ** u


def _affine(u, first, last):
    return first + (last - first) * u


def _cosine(u, first, last):
    return first * np.cos(math.acos(last / first) * u)


def _sigmoid(u, first, last):
    # A / (1 + exp(k (u - 1/2))) with A = a + b, k = 2 log(a / b).
    steepness = 2 * math.log(first / last)
    return (first + last) / (1 + np.exp(steepness * (u - 0.5)))


_SEQUENCES = {
    "geometric": _geometric,
    "affine": _affine,
    "cosine": _cosine,
    "sigmoid": _sigmoid,
}


def noise_sequence(
    name: Literal["geometric", "affine", "cosine", "sigmoid"],
    num: int = 200,
    first: float = 1.0,
    last: float = 0.01,
) -> Float[Array, " num"]:
    r"""A decreasing sequence of noise levels, both ends included.

    With $u = i / (n - 1)$ for $i = 0, \dots, n - 1$, $a$ the level `first` and $b$ the
    level `last`:

    | `name` | $\sigma_i$ |
    | --- | --- |
    | `"geometric"` | $a\, (b / a)^u$ |
    | `"affine"` | $a + (b - a)\, u$ |
    | `"cosine"` | $a \cos(u \arccos(b / a))$ |
    | `"sigmoid"` | $(a + b) / (1 + e^{k (u - \frac12)})$, $k = 2 \log(a / b)$ |

    The cosine is a quarter of a period without the part below `last`. The sigmoid is a
    logistic curve that falls to zero, $A / (1 + e^{k (u - \frac12)})$; the two ends
    determine $A$ and $k$. ($A = 1$ would not allow `first=1`, since a logistic curve
    does not reach its limit.)

    **Arguments:**

    - `name`: the shape.
    - `num`: the number of levels, at least two.
    - `first`, `last`: the largest and the smallest level; positive.

    **Returns:** the levels, from `first` down to `last`.

    **Raises:** `ValueError` for an unknown name, fewer than two levels, or levels that
    do not fall.
    """
    if name not in _SEQUENCES:
        raise ValueError(
            f"Unknown noise sequence {name!r}; expected one of {tuple(_SEQUENCES)}."
        )
    if num < 2:
        raise ValueError(f"`noise_sequence` needs at least two levels, got {num}.")
    check_positive("noise_sequence", "last", last)
    if not first > last:
        raise ValueError(
            f"`noise_sequence` needs `first` > `last`, got {first} and {last}."
        )
    levels = _SEQUENCES[name](np.linspace(0.0, 1.0, num), first, last)
    # The ends are exact, whatever the rounding between.
    levels[0], levels[-1] = first, last
    return jnp.asarray(levels, jnp.result_type(float))

"""Discrete noise levels: what annealed score matching trains and samples on."""

import math
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import check_positive
from ._cosine import Cosine
from ._geometric import Geometric
from ._linear import Linear
from ._sigmoid import Sigmoid


def _odds(start: float, end: float) -> Sigmoid:
    return Sigmoid(start, end, steepness=2 * math.log(end / start))


_SEQUENCES = {
    "geometric": Geometric,
    "affine": Linear,
    "cosine": Cosine,
    "sigmoid": _odds,
}


def noise_sequence(
    name: Literal["geometric", "affine", "cosine", "sigmoid"],
    num: int = 200,
    first: float = 1.0,
    last: float = 0.01,
) -> Float[Array, " num"]:
    r"""A decreasing sequence of noise levels, both ends included.

    The schedule of that name from `last` to `first`, read at evenly spaced times from
    its end to its start: `Geometric`, `Linear` (`"affine"`), `Cosine` or `Sigmoid`.

    The sigmoid is the logistic curve that falls to zero, $A / (1 + e^{k (u -
    \frac12)})$ for $u$ from 0 to 1. Its two constants follow from the two ends $a$
    (`first`) and $b$ (`last`): $A = a + b$ and $k = 2 \log (a / b)$. (With $A = 1$ it
    could not start at 1, which a logistic function does not attain.) So the odds
    $\sigma / (A - \sigma)$ are in geometric progression, from $a / b$ to $b / a$.

    **Arguments:**

    - `name`: of the shape.
    - `num`: how many levels, at least two.
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
    return jax.vmap(_SEQUENCES[name](last, first))(jnp.linspace(1.0, 0.0, num))

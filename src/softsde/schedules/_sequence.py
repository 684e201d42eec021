"""Discrete noise levels: what annealed score matching trains and samples on."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._checks import check_positive
from ._cosine import Cosine
from ._geometric import Geometric
from ._linear import Linear
from ._sigmoid import Sigmoid

_SEQUENCES = {
    "geometric": Geometric,
    "affine": Linear,
    "cosine": Cosine,
    "sigmoid": Sigmoid,
}


def noise_sequence(
    name: Literal["geometric", "affine", "cosine", "sigmoid"],
    num: int = 200,
    first: float = 1.0,
    last: float = 0.01,
) -> Float[Array, " num"]:
    """A decreasing sequence of noise levels, both ends included.

    The schedule of that name from `last` to `first`, read at evenly spaced times from
    its end to its start: `Geometric`, `Linear` (`"affine"`), `Cosine` or `Sigmoid`,
    whose two constants the two ends determine.

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

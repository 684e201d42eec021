"""The order in which masks cover pixels, and the promises that masks make."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from ..._types import Scalar
from ._bases import spatial_axes
from ._structure import Structure


@functools.lru_cache(maxsize=32)
def squared_distances(shape: tuple[int, ...]) -> np.ndarray:
    """The squared distance of each pixel from the centre, in half pixels.

    The distances are exact integers. The axis of channels has the size 1.
    """
    total = np.zeros([1] * len(shape), np.int64)
    for axis in spatial_axes(shape):
        n = shape[axis]
        offset = 2 * np.arange(n) - (n - 1)
        total = total + np.square(offset).reshape(
            [n if a == axis else 1 for a in range(len(shape))]
        )
    return total


@functools.lru_cache(maxsize=32)
def ranks_from_centre(shape: tuple[int, ...], grow: str) -> np.ndarray:
    """The rank of each pixel in the order of covering, ties in row-major order."""
    distances = squared_distances(shape)
    if grow == "border":
        distances = -distances
    order = np.argsort(distances, axis=None, kind="stable")
    ranks = np.empty(order.size, np.int32)
    ranks[order] = np.arange(order.size)
    return ranks.reshape(distances.shape)


def kept(ranks: Array | np.ndarray, theta: Scalar) -> Bool[Array, "..."]:
    """A mask of the pixels that are left when the first `round(theta * n)` are gone."""
    return jnp.asarray(ranks) >= jnp.round(theta * ranks.size).astype(jnp.int32)


def check_grow(owner: str, grow: str) -> None:
    if grow not in ("centre", "border"):
        raise ValueError(
            f"`{owner}` got `grow={grow!r}`; expected 'centre' (outwards from the "
            "centre) or 'border' (inwards from the border)."
        )


def mask_structure(shape: tuple[int, ...], *, differentiable: bool) -> Structure:
    """The promises of a mask whose level is the fraction of pixels that is gone."""
    return Structure(
        basis="pixel",
        positive_semidefinite=True,
        differentiable=differentiable,
        level_range=(0.0, 1.0),
        identity_level=0.0,
        shape=shape,
    )

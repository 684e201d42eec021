"""A mask of pixels drawn at random, which grows in an order drawn once."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._types import Key, ScalarLike
from ._bases import check_sample_shape, spatial_axes
from ._diagonal import AbstractDiagonalCorruption
from ._pixel_order import kept, mask_structure
from ._structure import Structure


class RandomMask(AbstractDiagonalCorruption):
    r"""Zeroes a fraction $\theta$ of the pixels, in an order drawn from a key.

    At the level $\theta$ the first $\operatorname{round}(\theta n)$ of $n$ pixels are
    zero in every channel. The order is an array of the module: one module is one
    pattern, nested across levels, and a map over modules gives each sample its own.

    !!! example

        ```python
        make = lambda key: ss.corruptions.RandomMask((28, 28, 1), key=key)
        masks = eqx.filter_vmap(make)(keys)
        masked = jax.vmap(lambda mask, x: mask.apply(0.5, x))(masks, xs)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    #: The place of each pixel in the order of covering.
    ranks: Int[Array, "*pixels"]

    def __init__(self, shape: tuple[int, ...], *, key: Key):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `key`: of the order.

        **Raises:** `ValueError` for another number of axes.
        """
        self.shape = check_sample_shape("RandomMask", shape)
        places = [n if a in spatial_axes(shape) else 1 for a, n in enumerate(shape)]
        number = jnp.arange(math.prod(places), dtype=jnp.int32)
        self.ranks = jax.random.permutation(key, number).reshape(places)

    @property
    def structure(self) -> Structure:
        return mask_structure(self.shape, differentiable=False)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        mask = kept(self.ranks, theta).astype(theta.dtype)
        return jnp.broadcast_to(mask, self.shape)

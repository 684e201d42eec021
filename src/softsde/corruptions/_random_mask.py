"""A mask that takes pixels in a random order."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import concrete
from .._types import Key, ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Structure,
    check_sample_shape,
    kept,
    mask_structure,
    spatial_axes,
)


class RandomMask(AbstractDiagonalCorruption):
    r"""Zeroes a fraction $\theta$ of the pixels, in an order drawn from a key.

    At the level $\theta$ the first $\operatorname{round}(\theta n)$ of $n$ pixels are
    zero in every channel. The order is an array of the module. One module is one
    pattern, nested across levels; `jax.vmap` over modules gives each sample a pattern
    of its own. It jumps, like [`softsde.corruptions.CenterMask`][], with the same
    consequence for sampling.

    !!! example

        ```python
        make = lambda key: ss.corruptions.RandomMask((28, 28, 1), key=key)
        masks = eqx.filter_vmap(make)(keys)
        masked = jax.vmap(lambda mask, x: mask.apply(0.5, x))(masks, xs)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    ranks: Int[Array, "*pixels"]

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        key: Key | None = None,
        ranks: Any = None,
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `key`: draws the order.
        - `ranks`: the order itself, in place of a key: integers from 0, the rank of
            each pixel in the order of covering, shaped like a sample of one channel.
            The attribute `ranks` holds it, so an equal mask can be made without the
            key.

        **Raises:** `ValueError` for another number of axes, for both or neither of
        `key` and `ranks`, or for ranks that are not a permutation.
        """
        self.shape = check_sample_shape("RandomMask", shape)
        if (key is None) is (ranks is None):
            raise ValueError(
                "`RandomMask` needs either `key`, which draws an order, or `ranks`, "
                f"the order itself; got {'neither' if key is None else 'both'}."
            )
        axes = spatial_axes(self.shape)
        pixels = tuple(n if a in axes else 1 for a, n in enumerate(self.shape))
        number = jnp.arange(math.prod(pixels), dtype=jnp.int32)
        if key is not None:
            self.ranks = jax.random.permutation(key, number).reshape(pixels)
            return
        self.ranks = jnp.asarray(ranks, jnp.int32)
        known = concrete(self.ranks)
        if self.ranks.shape != pixels or (
            known is not None and not np.array_equal(np.sort(known, None), number)
        ):
            raise ValueError(
                f"`RandomMask` got `ranks` of shape {self.ranks.shape}; expected the "
                f"integers from 0 to {number.size - 1}, each once, in the shape "
                f"{pixels}."
            )

    @property
    def key(self) -> None:
        """`None`: an equal mask is made from `ranks`, not from a key."""

    @property
    def structure(self) -> Structure:
        return mask_structure(self.shape, differentiable=False)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        mask = kept(self.ranks, theta).astype(theta.dtype)
        return jnp.broadcast_to(mask, self.shape)

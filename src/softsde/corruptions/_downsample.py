"""Fewer, larger pixels: down-sampling by means, at the original size."""

import functools
import itertools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import lax

from .._checks import check_shape
from .._types import Sample, ScalarLike
from ._machinery import (
    AbstractCorruption,
    Structure,
    check_sample_shape,
    multiply_along,
    spatial_axes,
    working_dtype,
)


def _block_means(x: Sample, factor: int) -> Sample:
    """`x` with each block of `factor` pixels a side replaced by its mean."""
    for axis in spatial_axes(x.shape):
        # Down and up again: most entries of the whole projection are zero. The mean is
        # a product because XLA reduces over short blocks one number at a time.
        size = x.shape[axis]
        block = np.arange(size) // factor
        down = (np.arange(size // factor)[:, None] == block[None, :]) / factor
        x = multiply_along(jnp.asarray(down, x.dtype), x, axis)
    for axis in spatial_axes(x.shape):
        x = jnp.repeat(x, factor, axis)
    return x


class Downsample(AbstractCorruption):
    r"""Replaces each block of $f \times f$ pixels by its mean, $f$ the factor.

    The level is the side of a block in pixels, $\theta \ge 1$: $f$ is the largest of
    `factors` that does not exceed it. A level schedule may run smoothly, e.g. in
    geometric progression; $C(\theta)$ jumps at each factor. $C(\theta)$ is the
    orthogonal projection onto images that are constant on blocks, also called
    pixelation. Levels commute if each factor divides the next.

    Sampling across a jump is not exact, even with the exact denoiser and many steps:
    [a jump halves the spread](../corruptions.md#jumps).

    !!! example

        ```python
        coarse = ss.corruptions.Downsample((28, 28, 1))  # factors 1, 2 and 4
        coarse.apply(4.0, image)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    factors: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, shape: tuple[int, ...], factors: tuple[int, ...] | None = None):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `factors`: increasing, from 1, each a divisor of height and width. By default
            all powers of two that divide both.

        **Raises:** `ValueError` for another shape or other factors.
        """
        self.shape = check_sample_shape("Downsample", shape)
        sides = [shape[axis] for axis in spatial_axes(shape)]
        if factors is None:
            side = int(np.gcd.reduce(sides))
            # The powers of two in `side`: up to its lowest set bit.
            factors = tuple(2**k for k in range((side & -side).bit_length()))
        factors = tuple(int(factor) for factor in factors)
        rising = all(a < b for a, b in itertools.pairwise(factors))
        divide = all(f > 0 and side % f == 0 for f in factors for side in sides)
        if not factors or factors[0] != 1 or not rising or not divide:
            raise ValueError(
                f"`Downsample` got `factors={factors}` for sides {sides}; expected "
                "increasing divisors of every side, from 1. Crop or pad the data to "
                "sides that divide."
            )
        if len(factors) < 2:
            raise ValueError(
                f"`Downsample` found no power of two that divides the sides {sides}. "
                "Give `factors` that do, or crop or pad the data."
            )
        self.factors = factors

    @property
    def structure(self) -> Structure:
        nested = all(b % a == 0 for a, b in itertools.pairwise(self.factors))
        return Structure(
            positive_semidefinite=True,
            commuting=nested,
            differentiable=False,
            level_range=(1.0, float(self.factors[-1])),
            identity_level=1.0,
            shape=self.shape,
        )

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        check_shape("Downsample", self.shape, x.shape)
        self.check_level(theta)
        theta = jnp.asarray(theta, working_dtype(x))
        # A level that is 4 up to an error of rounding counts as 4.
        reached = jnp.asarray(self.factors, theta.dtype) <= theta * (1 + 1e-5)
        index = jnp.maximum(jnp.sum(reached) - 1, 0)
        means = [functools.partial(_block_means, factor=f) for f in self.factors]
        return lax.switch(index, means, x.astype(theta.dtype)).astype(x.dtype)

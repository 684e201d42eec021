"""The paper's mask: sharp, growing from the centre; or from the border, as ours."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Structure,
    check_grow,
    check_sample_shape,
    kept,
    mask_structure,
    ranks_from_centre,
)


class CenterMask(AbstractDiagonalCorruption):
    r"""Zeroes a fraction $\theta$ of the pixels, nearest to the centre first.

    All pixels are put in order by their distance from the centre, those at equal
    distance in row-major order. At the level $\theta$ the first
    $\operatorname{round}(\theta n)$ of $n$ are zero in every channel. Masks are nested:
    a pixel that is gone stays gone at higher levels.

    $C(\theta)$ jumps pixel by pixel, so it has no derivative in $\theta$. Sampling
    across a jump is not exact, even with the exact denoiser and many steps:
    [a jump halves the spread](../corruptions.md#jumps).
    [`softsde.corruptions.SoftMask`][] has a derivative, and sampling it is exact in the
    limit of many steps.

    !!! example

        ```python
        mask = ss.corruptions.CenterMask((28, 28, 1), grow="border")
        quarter = mask.apply(0.25, image)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    grow: Literal["centre", "border"] = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], grow: Literal["centre", "border"] = "centre"
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `grow`: from the `"centre"` outwards, or from the `"border"` inwards, where
            the most distant pixels go first.

        **Raises:** `ValueError` for another shape or direction.
        """
        self.shape = check_sample_shape("CenterMask", shape)
        check_grow("CenterMask", grow)
        self.grow = grow

    @property
    def structure(self) -> Structure:
        return mask_structure(self.shape, differentiable=False)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        mask = kept(ranks_from_centre(self.shape, self.grow), theta)
        return jnp.broadcast_to(mask.astype(theta.dtype), self.shape)

"""A mask with a smooth edge, which has a derivative in its level."""

import functools
from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Structure,
    check_grow,
    check_sample_shape,
    mask_structure,
    squared_distances,
)


@functools.lru_cache(maxsize=32)
def _places(shape: tuple[int, ...], grow: str) -> np.ndarray:
    """The fraction of pixels covered before each one, and half of those that tie.

    Unlike a rank it is the same for pixels at equal distance, so the mask is symmetric.
    """
    distances = squared_distances(shape)
    if grow == "border":
        distances = -distances
    _, inverse, counts = np.unique(distances, return_inverse=True, return_counts=True)
    middle = (np.cumsum(counts) - counts / 2) / distances.size
    return middle[inverse].reshape(distances.shape)


class SoftMask(AbstractDiagonalCorruption):
    r"""[`softsde.corruptions.CenterMask`][] with an edge that is a smooth step.

    Let $u \in (0, 1)$ be the place of a pixel in the order from the centre: the
    fraction of pixels that are nearer. The pixel is multiplied by
    $S\big(1 + (u - e) / w\big)$, where the edge ends at $e = (1 + w)\,\theta$, $w$ is
    its width as a fraction of the pixels, and $S(a) = 6a^5 - 15a^4 + 10a^3$ is the step
    from 0 to 1 with two continuous derivatives. $C(0) = I$ and $C(1) = 0$ exactly; in
    between, $\theta$ is nearly the fraction masked.

    Each pixel fades before it is gone. So sampling is exact in the limit of many steps;
    with a mask that jumps, [the spread is halved](../corruptions.md#jumps).

    !!! example

        ```python
        mask = ss.corruptions.SoftMask((28, 28, 1), width=0.2)
        rate = mask.apply_dot(0.5, image)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    width: float = eqx.field(static=True)
    grow: Literal["centre", "border"] = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        width: float = 0.1,
        grow: Literal["centre", "border"] = "centre",
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `width`: of the edge, as a fraction of the pixels.
        - `grow`: from the `"centre"` outwards, or from the `"border"` inwards.

        **Raises:** `ValueError` for another shape or direction, or a width that is not
        positive.
        """
        self.shape = check_sample_shape("SoftMask", shape)
        check_grow("SoftMask", grow)
        if not 0 < width < np.inf:
            raise ValueError(
                f"`SoftMask` got `width={width}`; expected a positive fraction of the "
                "pixels. For a sharp edge use `CenterMask`."
            )
        self.width = float(width)
        self.grow = grow

    @property
    def structure(self) -> Structure:
        return mask_structure(self.shape, differentiable=True)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        places = jnp.asarray(_places(self.shape, self.grow), theta.dtype)
        edge = (1 + self.width) * theta
        a = jnp.clip(1 + (places - edge) / self.width, 0, 1)
        step = a**3 * (a * (6 * a - 15) + 10)
        return jnp.broadcast_to(step, self.shape)

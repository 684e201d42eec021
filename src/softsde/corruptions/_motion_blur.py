"""Blur along a line, as from a camera that moves during the exposure."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Scalar, ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Structure,
    check_sample_shape,
    frequencies,
)


class MotionBlur(AbstractDiagonalCorruption):
    r"""The mean over a line of $\theta$ pixels, centred at each pixel.

    $(C(\theta) x)(p) = \frac1\theta \int_{-\theta/2}^{\theta/2} x(p + s u)\,
    \mathrm{d}s$ with $u$ the direction of the line. The Fourier series of $x$ continues
    it between pixels and, periodically, beyond the edges. So the operator has no
    aliasing, is smooth in $\theta$ and is the identity at 0. It is diagonal in the
    Fourier basis, where it multiplies the wave $\omega$ by
    $\operatorname{sinc}(\theta\, \omega \cdot u / 2)$ with
    $\operatorname{sinc}(a) = \sin(a) / a$. That is negative for some waves, so the
    family is symmetric but not positive.

    !!! example

        ```python
        motion = ss.corruptions.MotionBlur((28, 28, 1), angle=30.0)
        streaked = motion.apply(5.0, image)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    angle: Scalar | float

    def __init__(self, shape: tuple[int, ...], angle: ScalarLike = 0.0):
        """**Arguments:**

        - `shape`: of one image: `(height, width, channels)` or `(height, width)`.
        - `angle`: of the line in degrees, counter-clockwise from the horizontal, as
            the image is seen with its first row on top. It may be traced.

        **Raises:** `ValueError` for a shape that is not of an image.
        """
        self.shape = check_sample_shape("MotionBlur", shape)
        if len(shape) < 2:
            raise ValueError(
                f"`MotionBlur` got `shape={shape}`; expected (height, width, channels) "
                "or (height, width). Along one axis, use `SpectralFilter`."
            )
        is_number = isinstance(angle, int | float)
        self.angle = float(angle) if is_number else jnp.asarray(angle)

    @property
    def structure(self) -> Structure:
        return Structure(
            basis="fourier",
            differentiable=True,
            level_range=(0.0, None),
            identity_level=0.0,
            shape=self.shape,
        )

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        angle = jnp.deg2rad(jnp.asarray(self.angle).astype(theta.dtype))
        rows, columns = frequencies("fourier", self.shape)

        def response(rows: np.ndarray, columns: np.ndarray) -> Float[Array, "..."]:
            along = jnp.cos(angle) * jnp.asarray(columns, theta.dtype)
            # Rows count downwards.
            along = along - jnp.sin(angle) * jnp.asarray(rows, theta.dtype)
            # jnp.sinc takes its argument in units of pi, and is 1 at 0.
            return jnp.sinc(theta * along * (0.5 / np.pi))

        # The highest wave of an even axis stands for two waves, one of each sign, with
        # half of the amplitude each: a real image is multiplied by the mean.
        mirrored = [np.where(w == -np.pi, np.pi, w) for w in (rows, columns)]
        values = 0.5 * (response(rows, columns) + response(*mirrored))
        return jnp.broadcast_to(values, self.shape)

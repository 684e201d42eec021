r"""Gaussian blur by a truncated kernel: the paper's corruption (its Appendix G).

The kernel over a square window, normalised over the *whole* window, is the outer
product of the normalised one-dimensional kernel with itself. So the blur of an image
$X$ is exactly $A_\theta X A_\theta^\top$, where $A_\theta$ is the matrix of the
one-dimensional filter with its border rule. Two small matrix products replace a
convolution with a 161 x 161 window.

Each border rule continues the signal outside by copies of the signal inside. So each
entry of $A_\theta$ is a sum of kernel values over the places of a pixel's copies. The
distances to those places are integers, known when the corruption is made.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_shape
from .._types import Padding, Sample, ScalarLike
from ._machinery import (
    AbstractCorruption,
    Structure,
    check_sample_shape,
    multiply_along,
    spatial_axes,
    working_dtype,
)

# Below this the kernel is one at the centre and underflows to zero elsewhere, in
# float64 too (exp(-1 / 2 / 0.02^2) = exp(-1250)); clamping keeps theta = 0 finite.
_SHARP = 0.02


def _copies(size: int, half_size: int, padding: Padding) -> np.ndarray:
    """The places `(copies, size)` of each pixel in the padded signal.

    A copy that does not exist gets a place that the kernel cannot reach.
    """
    place = np.arange(size)
    if padding == "zero":
        return place[None]
    if padding == "reflect" and size == 1:
        padding = "periodic"
    period = {"periodic": size, "symmetric": 2 * size, "reflect": 2 * (size - 1)}
    turns = np.arange(
        -(half_size // period[padding]) - 2, half_size // period[padding] + 3
    )
    shifts = period[padding] * turns[:, None]
    if padding == "periodic":
        return place + shifts
    if padding == "symmetric":
        return np.concatenate([place + shifts, -1 - place + shifts])
    # The two edge pixels are their own mirror images; their copies must count once.
    mirrored = -place + shifts
    unreachable = 10 * (half_size + size)
    mirrored[:, [0, -1]] = unreachable
    return np.concatenate([place + shifts, mirrored])


class GaussianBlur(AbstractCorruption):
    r"""Gaussian blur of standard deviation $\theta$ pixels, truncated and normalised.

    $(C(\theta) x)_{ij} = \sum_{|k|, |l| \le h} w_k w_l\, x_{i+k,\, j+l}$ with
    $w_k \propto e^{-k^2 / 2\theta^2}$, $\sum_{|k| \le h} w_k = 1$, computed exactly as
    $A_\theta X A_\theta^\top$. The paper's blur (its Appendix G) pads with zeros: the
    picture darkens towards its border as it blurs.

    The family is symmetric for every padding except `"reflect"`. Its levels commute for
    `"periodic"` and `"symmetric"`, and nearly for `"zero"`.

    !!! example

        ```python
        blur = ss.corruptions.GaussianBlur((28, 28, 1))
        blurred = blur.apply(2.0, image)
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Appendix G.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    half_size: int = eqx.field(static=True)
    padding: Padding = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        half_size: int | None = None,
        padding: Padding = "zero",
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)`, or
            `(dim,)`, which is blurred along its one axis.
        - `half_size`: the window reaches this many pixels to each side. By default
            `32` up to 32 pixels and `80` above: the paper's values.
        - `padding`: the signal outside the image. `"zero"` is the paper's. The others
            are modes of `numpy.pad`: `"reflect"` (edge not repeated), `"symmetric"`
            (edge repeated), and `"periodic"` (there `"wrap"`).

        **Raises:** `ValueError` for another number of axes, an empty window or an
        unknown padding.
        """
        self.shape = check_sample_shape("GaussianBlur", shape)
        if half_size is None:
            half_size = 32 if max(shape[:2]) <= 32 else 80
        if half_size < 1:
            raise ValueError(
                f"`GaussianBlur` got `half_size={half_size}`; a window needs at least "
                "1 pixel to each side (use `Identity()` for no blur)."
            )
        modes = ("zero", "reflect", "symmetric", "periodic")
        if padding not in modes:
            raise ValueError(
                f"`GaussianBlur` got `padding={padding!r}`; expected one of {modes}."
            )
        self.half_size = int(half_size)
        self.padding = padding

    def matrix(self, theta: ScalarLike, size: int) -> Float[Array, "size size"]:
        r"""The one-dimensional filter $A_\theta$ with its border rule.

        **Arguments:**

        - `theta`: standard deviation in pixels.
        - `size`: number of pixels along the axis.

        **Returns:** the matrix, in the dtype of `theta`.
        """
        theta = jnp.maximum(jnp.asarray(theta), _SHARP)
        precision = 0.5 / theta**2

        def kernel(distance: np.ndarray) -> Float[Array, "..."]:
            squared = jnp.asarray(np.square(distance), theta.dtype)
            return jnp.exp(-precision * squared)

        copies = _copies(size, self.half_size, self.padding)
        distance = copies[:, None, :] - np.arange(size)[None, :, None]
        # (copies, to, from), with only the copies that the window of a pixel reaches.
        distance = distance[(np.abs(distance) <= self.half_size).any(axis=(1, 2))]
        inside = np.abs(distance) <= self.half_size
        weights = jnp.where(inside, kernel(np.where(inside, distance, 0)), 0)
        total = kernel(np.arange(-self.half_size, self.half_size + 1)).sum()
        return weights.sum(axis=0) / total

    @property
    def structure(self) -> Structure:
        # Not positive: the spectrum of a truncated kernel has negative ripples.
        return Structure(
            symmetric=self.padding != "reflect",
            commuting=self.padding in ("symmetric", "periodic"),
            differentiable=True,
            level_range=(0.0, None),
            identity_level=0.0,
            shape=self.shape,
        )

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        check_shape("GaussianBlur", self.shape, x.shape)
        self.check_level(theta)
        theta = jnp.asarray(theta, working_dtype(x))
        y = x.astype(theta.dtype)
        for axis in spatial_axes(self.shape):
            matrix = self.matrix(theta, self.shape[axis])
            y = multiply_along(matrix, y, axis)
        return y.astype(x.dtype)

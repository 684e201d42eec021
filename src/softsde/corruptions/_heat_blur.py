r"""Blur by the heat equation: the corruption of heat-dissipation models.

In the DCT basis the blur multiplies by $g_k = e^{-\theta^2 (\pi k / n)^2 / 2}$ along
each axis. So the blur of an image $X$ is $A_\theta X A_\theta^\top$ with
$A_\theta = D^\top \operatorname{diag}(g)\, D$, where $D$ is the matrix of the DCT. That
is two products with the image; the transform there and back takes four.
"""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_shape
from .._types import Sample, Scalar, ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Structure,
    check_basis,
    check_sample_shape,
    multiply_along,
    spatial_axes,
    squared_frequencies,
    working_dtype,
)


def _heat_matrix(theta: Scalar, size: int) -> Float[Array, "size size"]:
    r"""The filter of one axis, $A_{ij} = \frac12 (a_{|i - j|} + a_{i + j + 1})$.

    $D_{kj} = s_k \cos(\pi k (2j + 1) / 2n)$ with $s_0^2 = 1/n$ and $s_k^2 = 2/n$. In
    $A_{ij} = \sum_k D_{ki} g_k D_{kj}$ the product of two cosines is half the sum of
    the cosines of the sum and of the difference, so
    $a_m = \sum_k s_k^2 g_k \cos(\pi k m / n)$.
    """
    k, m = np.arange(size), np.arange(2 * size)
    scale = np.where(k == 0, 1, 2) / size
    cosines = scale * np.cos(np.pi * m[:, None] * k / size)
    squared = jnp.asarray(np.square(np.pi * k / size), theta.dtype)
    g = jnp.exp(-0.5 * theta**2 * squared)
    a = jnp.matmul(jnp.asarray(cosines, theta.dtype), g, precision="highest")
    # `a` is even and has the period 2n. Copies of it, cut into rows one shorter or one
    # longer than the period, are shifted by one from row to row: so there is no gather,
    # which is slow where every sample has its own level.
    copies = jnp.tile(a, size + 1)
    shorter, longer = 2 * size - 1, 2 * size + 1
    differences = copies[: size * shorter].reshape(size, shorter)[:, :size]
    sums = copies[1 : 1 + size * longer].reshape(size, longer)[:, :size]
    return 0.5 * (differences + sums)


class HeatBlur(AbstractDiagonalCorruption):
    r"""The heat equation run for the time $\theta^2 / 2$: a blur of $\theta$ pixels.

    $C(\theta) = Q^\top \operatorname{diag}(e^{-\theta^2 \omega^2 / 2})\, Q$ with
    $Q$ the orthonormal DCT-II and $\omega^2 = (\pi k / h)^2 + (\pi l / w)^2$. No heat
    leaves through the edges, so an image keeps its mean. The family continues the image
    by reflection and blurs it with a Gaussian of standard deviation $\theta$, without
    the truncation of [`softsde.corruptions.GaussianBlur`][]. Unlike that one it is a
    semigroup: $C(\theta) C(\theta') = C\big(\sqrt{\theta^2 + \theta'^2}\big)$.

    !!! example

        ```python
        blur = ss.corruptions.HeatBlur((28, 28, 1))
        blurred = blur.apply(2.0, image)
        ```

    ??? cite "Reference"

        Rissanen, Heinonen and Solin, *Generative Modelling With Inverse Heat
        Dissipation*, ICLR 2023. Their time is $\theta^2 / 2$.
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    basis: Literal["dct", "fourier"] = eqx.field(static=True)

    def __init__(
        self, shape: tuple[int, ...], basis: Literal["dct", "fourier"] = "dct"
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)`, or
            `(dim,)`, which is blurred along its one axis.
        - `basis`: `"dct"` for insulated edges, `"fourier"` for periodic ones.

        **Raises:** `ValueError` for another number of axes or another basis.
        """
        self.shape = check_sample_shape("HeatBlur", shape)
        check_basis("HeatBlur", basis)
        self.basis = basis

    @property
    def structure(self) -> Structure:
        return Structure(
            basis=self.basis,
            positive_semidefinite=True,
            differentiable=True,
            level_range=(0.0, None),
            identity_level=0.0,
            shape=self.shape,
        )

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        if self.basis != "dct":
            return super().apply(theta, x)
        check_shape("HeatBlur", self.shape, x.shape)
        self.check_level(theta)
        theta = jnp.asarray(theta, working_dtype(x))
        y = x.astype(theta.dtype)
        sizes = [self.shape[axis] for axis in spatial_axes(self.shape)]
        matrices = {size: _heat_matrix(theta, size) for size in set(sizes)}
        for axis, size in enumerate(sizes):
            y = multiply_along(matrices[size], y, axis)
        return y.astype(x.dtype)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        squared = jnp.asarray(squared_frequencies(self.basis, self.shape), theta.dtype)
        return jnp.broadcast_to(jnp.exp(-0.5 * theta**2 * squared), self.shape)

"""Blur by the heat equation: the corruption of heat-dissipation models."""

from typing import Literal

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import ScalarLike
from ._bases import check_basis, check_sample_shape, squared_frequencies
from ._diagonal import AbstractDiagonalCorruption
from ._structure import Structure


class HeatBlur(AbstractDiagonalCorruption):
    r"""The heat equation run for the time $\theta^2 / 2$: a blur of $\theta$ pixels.

    $C(\theta) = Q^\top \operatorname{diag}(e^{-\theta^2 \omega^2 / 2})\, Q$ with
    $Q$ the orthonormal DCT-II and $\omega^2 = (\pi k / h)^2 + (\pi l / w)^2$: no heat
    leaves through the edges, so an image keeps its mean. It is the blur by a Gaussian
    of standard deviation $\theta$ of the image continued by reflection, without the
    truncation of [`softsde.corruptions.GaussianBlur`][], and unlike that a semigroup:
    $C(\theta) C(\theta') = C\big(\sqrt{\theta^2 + \theta'^2}\big)$.

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

        **Raises:** `ValueError` for another number of axes, or another basis.
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

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        squared = jnp.asarray(squared_frequencies(self.basis, self.shape), theta.dtype)
        return jnp.broadcast_to(jnp.exp(-0.5 * theta**2 * squared), self.shape)

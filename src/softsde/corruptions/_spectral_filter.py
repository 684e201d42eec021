"""Any real response to frequency that does not depend on direction."""

from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._callables import as_pytree
from .._checks import concrete
from .._types import ScalarLike
from ._machinery import (
    AbstractDiagonalCorruption,
    Range,
    Structure,
    check_basis,
    check_sample_shape,
    squared_frequencies,
)


class SpectralFilter(AbstractDiagonalCorruption):
    r"""Multiplies each frequency by a transfer function $H(\theta, \omega^2)$.

    $C(\theta) = Q^\top \operatorname{diag}(H(\theta, \omega^2))\, Q$ over the spatial
    axes, the same in every channel. $\omega^2$ is the squared angular frequency in
    radians a pixel, summed over the axes. Along one axis $\omega_k = \pi k / n$ for the
    cosines of the basis `"dct"`, and $\omega_k = 2 \pi k / n$, $|\omega_k| \le \pi$,
    for the waves of the basis `"fourier"`.

    !!! example

        ```python
        def butterworth(theta, squared):
            return 1 / (1 + (theta**2 * squared) ** 2)


        low_pass = ss.corruptions.SpectralFilter(
            (28, 28, 1), butterworth, nonnegative=True, identity_level=0.0
        )
        low_pass.apply(3.0, image)
        ```
    """

    shape: tuple[int, ...] = eqx.field(static=True)
    transfer: Callable[..., Any]
    basis: Literal["dct", "fourier"] = eqx.field(static=True)
    nonnegative: bool = eqx.field(static=True)
    differentiable: bool | None = eqx.field(static=True)
    level_range: Range = eqx.field(static=True)
    identity_level: float | None = eqx.field(static=True)

    def __init__(
        self,
        shape: tuple[int, ...],
        transfer: Callable[..., Any],
        basis: Literal["dct", "fourier"] = "dct",
        *,
        nonnegative: bool = False,
        differentiable: bool | None = None,
        level_range: Range = (None, None),
        identity_level: float | None = None,
    ):
        """**Arguments:**

        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `transfer`: `transfer(theta, squared) -> array` shaped like `squared`, real;
            a function, or an Equinox module with parameters.
        - `basis`: `"dct"` for insulated edges, `"fourier"` for periodic ones.
        - `nonnegative`: promise that `transfer` is never negative. The family is then
            positive semi-definite.
        - `differentiable`, `level_range`, `identity_level`: the promises of
            [`softsde.corruptions.Structure`][].

        **Raises:** `ValueError` for an unknown basis, a `transfer` whose values have
        another shape, or an `identity_level` at which they are not 1.
        """
        self.shape = check_sample_shape("SpectralFilter", shape)
        check_basis("SpectralFilter", basis)
        self.transfer = as_pytree(transfer)
        self.basis = basis
        self.nonnegative = nonnegative
        self.differentiable = differentiable
        self.level_range = level_range
        self.identity_level = identity_level
        if identity_level is not None:
            values = concrete(self.eigenvalues(float(identity_level)))
            if values is not None and not np.allclose(values, 1, rtol=0, atol=1e-6):
                raise ValueError(
                    f"`SpectralFilter` got `identity_level={identity_level}`, but "
                    f"there `transfer` runs from {values.min()} to {values.max()}; "
                    "the identity needs 1 at every frequency."
                )

    @property
    def structure(self) -> Structure:
        return Structure(
            basis=self.basis,
            positive_semidefinite=self.nonnegative,
            differentiable=self.differentiable,
            level_range=self.level_range,
            identity_level=self.identity_level,
            shape=self.shape,
        )

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        theta = jnp.asarray(theta)
        squared = jnp.asarray(squared_frequencies(self.basis, self.shape), theta.dtype)
        values = jnp.asarray(self.transfer(theta, squared))
        if values.shape != squared.shape or not jnp.isrealobj(values):
            raise ValueError(
                f"`SpectralFilter` got a `transfer` with values of shape "
                f"{values.shape} and dtype {values.dtype} for frequencies of shape "
                f"{squared.shape}; expected that shape, and real numbers."
            )
        return jnp.broadcast_to(values.astype(theta.dtype), self.shape)

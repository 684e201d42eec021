"""A corruption at a level that is a function of the level."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._callables import as_pytree
from .._types import Sample, ScalarLike
from ._machinery import AbstractCorruption, Range, Structure


class Relevel(AbstractCorruption):
    r"""$C(\theta) = C'(m(\theta))$: another corruption at a level of its own.

    Use it for members of [`softsde.corruptions.Compose`][] and
    [`softsde.corruptions.Mix`][], which all get the same level.

    !!! example

        ```python
        shape = (28, 28, 1)
        blur_and_fade = ss.corruptions.Compose(
            ss.corruptions.HeatBlur(shape),
            ss.corruptions.Relevel(ss.corruptions.Scale(), lambda theta: 0.9**theta),
        )
        blur_and_fade.apply(2.0, image)
        ```
    """

    corruption: AbstractCorruption
    level_map: Callable[..., Any]
    differentiable: bool | None = eqx.field(static=True)
    level_range: Range = eqx.field(static=True)
    identity_level: float | None = eqx.field(static=True)

    def __init__(
        self,
        corruption: AbstractCorruption,
        level_map: Callable[..., Any],
        *,
        differentiable: bool | None = None,
        level_range: Range = (None, None),
        identity_level: float | None = None,
    ):
        """**Arguments:**

        - `corruption`: the family $C'$.
        - `level_map`: the map $m$ from a scalar level into the range of levels of
            `corruption`: a function, or an Equinox module such as a schedule. A
            constant function fixes the operator.
        - `differentiable`, `level_range`, `identity_level`: promises about the family
            in its new levels, as in [`softsde.corruptions.Structure`][]. A corruption
            that jumps still jumps.
        """
        self.corruption = corruption
        self.level_map = as_pytree(level_map)
        self.differentiable = differentiable
        self.level_range = level_range
        self.identity_level = identity_level

    @property
    def structure(self) -> Structure:
        inner = self.corruption.structure
        jumps = inner.differentiable is False
        return Structure(
            basis=inner.basis,
            symmetric=inner.symmetric,
            positive_semidefinite=inner.positive_semidefinite,
            commuting=inner.commuting,
            differentiable=False if jumps else self.differentiable,
            level_range=self.level_range,
            identity_level=self.identity_level,
            shape=inner.shape,
        )

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        return self.corruption.apply(self._level(theta), x)

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        self.check_level(theta)
        return self.corruption.adjoint(self._level(theta), x)

    def to_basis(self, x: Sample) -> Sample:
        return self.corruption.to_basis(x)

    def from_basis(self, coefficients: Sample) -> Sample:
        return self.corruption.from_basis(coefficients)

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        return self.corruption.eigenvalues(self._level(theta))

    def _level(self, theta: ScalarLike):
        theta = jnp.asarray(theta)
        return jnp.asarray(self.level_map(theta), theta.dtype)

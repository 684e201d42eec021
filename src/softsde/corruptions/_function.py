"""Any function that is linear in the sample, as a corruption."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._callables import as_pytree
from .._checks import check_shape
from .._types import Sample, ScalarLike
from ._machinery import (
    AbstractCorruption,
    Structure,
    check_only,
    check_sample_shape,
)


class FunctionCorruption(AbstractCorruption):
    r"""The family $C(\theta) x = f(\theta, x)$ of a function $f$ that is linear in $x$.

    The function is tried on two random samples when the corruption is made. It is
    refused if it is not linear there, or if the trial shows that a promise is false.

    !!! example

        ```python
        def leftward(theta, x):
            return (1 - theta) * x + theta * jnp.roll(x, -1, axis=1)


        drift = ss.corruptions.FunctionCorruption(leftward, (28, 28, 1))
        drift.adjoint(0.3, image)
        ```
    """

    fn: Callable[..., Any]
    shape: tuple[int, ...] = eqx.field(static=True)
    promises: Structure = eqx.field(static=True)
    probe_level: float = eqx.field(static=True)

    def __init__(
        self,
        fn: Callable[..., Any],
        shape: tuple[int, ...],
        structure: Structure | None = None,
        *,
        probe_level: float = 0.5,
    ):
        """**Arguments:**

        - `fn`: `fn(theta, x) -> array` shaped like `x`, in jax; a function, or an
            Equinox module with parameters.
        - `shape`: of one sample: `(height, width, channels)`, `(height, width)` or
            `(dim,)`.
        - `structure`: what you know of the operators beyond linearity; by default
            nothing. It may not name a basis: subclass
            [`softsde.corruptions.AbstractDiagonalCorruption`][] for that.
        - `probe_level`: the level of the trial.

        **Raises:** `ValueError` for a function that is not linear in `x` or returns
        another shape, with the size of the failure, or for a promise that the trial
        shows to be false.
        """
        self.fn = as_pytree(fn)
        self.shape = check_sample_shape("FunctionCorruption", shape)
        promises = Structure() if structure is None else structure
        if promises.basis is not None:
            raise ValueError(
                f"`FunctionCorruption` got `basis={promises.basis!r}`, but it has no "
                "eigenvalues. Subclass `AbstractDiagonalCorruption`, which has."
            )
        if promises.shape is not None:
            check_shape("Structure", promises.shape, self.shape)
        self.promises = dataclasses.replace(promises, shape=self.shape)
        self.probe_level = probe_level
        self.check_level(probe_level)
        # A function is the likeliest of all to be wrong, so it is tried at once.
        names = ("shape", "dtype", "linear", "symmetric", "positive")
        check_only(self, self.shape, [probe_level], names)

    @property
    def structure(self) -> Structure:
        return self.promises

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        check_shape("FunctionCorruption", self.shape, x.shape)
        self.check_level(theta)
        y = self.fn(jnp.asarray(theta, x.dtype), x)
        if y.shape != x.shape:
            raise ValueError(
                f"`FunctionCorruption` got a function whose output has the shape "
                f"{y.shape}; expected that of its input, {x.shape}."
            )
        return y.astype(x.dtype)

"""Any function that is linear in the sample, as a corruption."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from .._checks import check_shape, concrete
from .._types import Sample, ScalarLike
from ._base import AbstractCorruption
from ._bases import check_sample_shape
from ._callables import as_pytree
from ._structure import Structure


class FunctionCorruption(AbstractCorruption):
    r"""A function $f(\theta, x)$, linear in $x$, as the family $C(\theta) x = f(\theta,
    x)$.

    The function is tried on two random samples when the corruption is made, and refused
    if it is not linear there, or if it breaks a promise that the same trial can show to
    be false.

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
        - `structure`: what you know of the operators beyond that they are linear;
            nothing by default. It may not name a basis: for that, subclass
            [`softsde.corruptions.AbstractDiagonalCorruption`][].
        - `probe_level`: the level of the trial.

        **Raises:** `ValueError` for a function that is not linear in `x` or returns
        another shape, with the size of the failure, or for a promise seen broken.
        """
        self.fn = as_pytree(fn)
        self.shape = check_sample_shape("FunctionCorruption", shape)
        self.promises = Structure() if structure is None else structure
        if self.promises.basis is not None:
            raise ValueError(
                f"`FunctionCorruption` got `basis={self.promises.basis!r}`, but has no "
                "eigenvalues to show for it. Subclass `AbstractDiagonalCorruption`."
            )
        self.check_level(probe_level)
        self._probe(probe_level)

    def _probe(self, level: float) -> None:
        rng = np.random.default_rng(0)
        dtype = jnp.result_type(float)
        x, y = (jnp.asarray(rng.normal(size=self.shape), dtype) for _ in range(2))
        scale = 3.0
        outputs = [self.apply(level, v) for v in (x, y, x + y, scale * x)]
        known = [concrete(output) for output in outputs]
        if any(output is None for output in known):  # made inside a transformation
            return
        fx, fy, f_sum, f_scaled = (np.asarray(output, np.float64) for output in known)
        size = np.linalg.norm(fx) + np.linalg.norm(fy)
        size = size if size > 0 else 1.0
        additivity = float(np.linalg.norm(f_sum - fx - fy) / size)
        homogeneity = float(np.linalg.norm(f_scaled - scale * fx) / (scale * size))
        tolerance = float(np.sqrt(jnp.finfo(dtype).eps))
        if not max(additivity, homogeneity) <= tolerance:
            raise ValueError(
                "`FunctionCorruption` needs a function that is linear in `x`; at level "
                f"{level} |f(x + y) - f(x) - f(y)| is {additivity:.2g} and |f(3x) - "
                f"3 f(x)| is {homogeneity:.2g}, relative to |f|, where up to "
                f"{tolerance:.2g} is rounding. Leave out clipping, thresholds, noise "
                "and constants that are added."
            )
        dots = (np.vdot(fx, np.asarray(y)), np.vdot(np.asarray(x), fy))
        room = tolerance * size * float(jnp.linalg.norm((x + y).reshape(-1)))
        if self.promises.symmetric and abs(dots[0] - dots[1]) > room:
            raise ValueError(
                "`FunctionCorruption` got the promise `symmetric=True`, but <f(x), y> "
                f"= {dots[0]:.6g} and <x, f(y)> = {dots[1]:.6g} at level {level}."
            )
        square = np.vdot(np.asarray(x), fx)
        if self.promises.positive_semidefinite and square < -room:
            raise ValueError(
                "`FunctionCorruption` got the promise `positive_semidefinite=True`, "
                f"but <x, f(x)> = {square:.6g} at level {level}."
            )

    @property
    def structure(self) -> Structure:
        return dataclasses.replace(self.promises, shape=self.shape)

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

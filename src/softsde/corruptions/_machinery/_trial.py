"""The properties of a corruption, each measured on random samples."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..._checks import concrete
from ._base import AbstractCorruption
from ._jump import search_jump
from ._report import Finding

# An operator that is not the identity at the first level by less than this share of a
# sample may start a process: a blur of 0.3 pixels moves a sample by 1.5 %.
_NEARLY_CLEAN = 0.05

# `largest_jump` says about 2^-12 for a smooth family, 2^-6 for a square root and above
# this for a jump.
_JUMP = 0.1

# Steps of the power iteration that looks for the least eigenvalue.
_POWER_STEPS = 30


@eqx.filter_jit
def _apply(corruption: AbstractCorruption, theta: Array, x: Array) -> Array:
    return corruption.apply(theta, x)


def _compiled(corruption: AbstractCorruption) -> Callable[[Array, Array], Array]:
    """`apply`, compiled: once for all equal corruptions where that is safe."""
    is_function = lambda node: isinstance(node, jax.tree_util.Partial)
    leaves, structure = jax.tree.flatten(corruption, is_leaf=is_function)
    try:
        hash(structure)
        shared = not any(is_function(leaf) for leaf in leaves)
    except TypeError:  # a static field that has no hash
        shared = False
    if shared:
        return functools.partial(_apply, corruption)
    # A program is not shared by the identity of a function: what the function reads
    # may have changed since.
    return _quickly(corruption.apply)


def _quickly(fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn`, compiled afresh and without optimisation: it runs a few times only."""
    options = {"xla_backend_optimization_level": 0}
    return jax.jit(lambda *args: fn(*args), compiler_options=options)


class Trial:
    """A corruption, two random samples, and what is found from them."""

    def __init__(self, corruption: AbstractCorruption, shape: tuple[int, ...]):
        self.corruption = corruption
        self.structure = corruption.structure
        self.real = jnp.result_type(float)
        # Rounding is of the order of `eps`; a mistake is not.
        self.tolerance = float(np.sqrt(jnp.finfo(self.real).eps))
        rng = np.random.default_rng(0)
        # Two samples that are exact in the dtype of the trial.
        draws = rng.normal(size=(2, *shape)).astype(self.real)
        self.x, self.y = draws.astype(np.float64)
        self._compiled = _compiled(corruption)
        inherited = type(corruption).adjoint is AbstractCorruption.adjoint
        self._by_symmetry = self.structure.symmetric and inherited
        self._adjoint = _quickly(corruption.adjoint)

    def _call(self, fn: Callable[..., Any], level: float, x: Any) -> Any:
        return fn(jnp.asarray(level, self.real), jnp.asarray(x, self.real))

    def apply(self, level: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._call(self._compiled, level, x), np.float64)

    def transposed(self, level: float, x: np.ndarray) -> np.ndarray:
        return np.asarray(self._call(self._adjoint, level, x), np.float64)

    def is_known(self, level: float) -> bool:
        """Tells whether outputs are numbers: nothing in the corruption is traced."""
        return concrete(self._call(self._compiled, level, self.x)) is not None

    # The findings.

    def shape(self, levels: Sequence[float]) -> Finding:
        found = self._call(self._compiled, levels[0], self.x).shape
        return self._kept("shape", self.x.shape, found)

    def dtype(self, levels: Sequence[float]) -> Finding:
        found = self._call(self._compiled, levels[0], self.x).dtype
        return self._kept("dtype", jnp.dtype(self.real), found)

    def linear(self, levels: Sequence[float]) -> Finding:
        sizes = {}
        for level in levels:
            cx, cy = self.apply(level, self.x), self.apply(level, self.y)
            together = self.apply(level, self.x - 3 * self.y)
            sizes[level] = _share(together - (cx - 3 * cy), together, cx, 3 * cy)
        return self._finding(
            sizes,
            "|C(x - 3y) - C(x) + 3 C(y)|",
            "Leave out clipping, thresholds, noise and constants that are added.",
        )

    def identity(self, level: float) -> Finding:
        size = _share(self.apply(level, self.x) - self.x, self.x)
        promised = self.structure.identity_level is not None
        return self._finding(
            {level: size},
            "|C(x) - x|",
            "A process starts where C = I. Name the level of the identity in "
            "`structure.identity_level`, or give `levels` that begin there.",
            tolerance=self.tolerance if promised else _NEARLY_CLEAN,
        )

    def adjoint(self, levels: Sequence[float]) -> Finding:
        if self._by_symmetry:
            return Finding(None, None, None, "`apply`, since symmetry is promised")
        return self._finding(
            {level: self._mismatch(level, self.transposed) for level in levels},
            "|<C(x), y> - <x, adjoint(y)>|",
            "Without an `adjoint` of its own the family gets the right one.",
        )

    def symmetric(self, levels: Sequence[float]) -> Finding:
        return self._finding(
            {level: self._mismatch(level, self.apply) for level in levels},
            "|<C(x), y> - <x, C(y)>|",
            "Do not promise `symmetric` (a basis and `positive_semidefinite` imply it) "
            "in `structure`.",
            promised=self.structure.symmetric,
        )

    def positive(self, levels: Sequence[float]) -> Finding:
        if not self.structure.positive_semidefinite:
            return Finding(None, None, None, "not promised")
        return self._finding(
            {level: self._negativity(level) for level in levels},
            "the negative part of the least eigenvalue found, over the largest one,",
            "Do not promise `positive_semidefinite` in `structure`.",
        )

    def commuting(self, levels: Sequence[float]) -> Finding:
        a, b = levels[0], levels[-1]
        ab = self.apply(a, self.apply(b, self.x))
        ba = self.apply(b, self.apply(a, self.x))
        return self._finding(
            {b: _share(ab - ba, ab, ba)},
            f"|C C' - C' C|, C' at the level {a:.4g},",
            "Do not promise `commuting` (a basis implies it) in `structure`.",
            promised=self.structure.commuting,
        )

    def basis(self, levels: Sequence[float]) -> Finding:
        basis, family = self.structure.basis, self.corruption
        if basis is None:
            return Finding(None, None, None, "not promised")

        to_basis = _quickly(
            lambda theta, x: (family.to_basis(x), family.eigenvalues(theta))
        )
        from_basis = _quickly(lambda theta, z: family.from_basis(z))
        sizes = {}
        for level in levels:
            z, values = self._call(to_basis, level, self.x)
            back, product, cx = (
                np.asarray(array, np.float64)
                for array in (
                    self._call(from_basis, level, z),
                    self._call(from_basis, level, values * z),
                    self.apply(level, self.x),
                )
            )
            length = np.linalg.norm(np.asarray(z, np.float64))
            sizes[level] = max(
                _share(length - np.linalg.norm(self.x), self.x),
                _share(back - self.x, self.x),
                _share(product - cx, product, cx),
            )
            if basis == "every" and values.ndim:
                return Finding(
                    False,
                    None,
                    None,
                    "`basis='every'` means C = alpha I, with one number alpha, but "
                    f"`eigenvalues` has the shape {values.shape}. Return a scalar.",
                )
        return self._finding(
            sizes,
            f"the error of `to_basis`, `from_basis` or `eigenvalues` in {basis!r}",
            "`to_basis` must be orthonormal, `from_basis` its inverse, and C must "
            "multiply the coefficients by `eigenvalues`.",
        )

    def differentiable(
        self, levels: Sequence[float], search: tuple[float, float]
    ) -> Finding:
        if self.structure.differentiable is False:
            return Finding(True, None, None, "declared to jump")
        x = jnp.asarray(self.x, self.real)
        compiled = lambda theta: self._compiled(theta, x)
        share, level = map(float, search_jump(compiled, *search))
        if not share <= _JUMP:
            return Finding(
                False,
                share,
                _JUMP,
                f"C jumps at the level {level:.4g}: over a step 4096 times shorter it "
                f"still changes a sample by {share:.2g} of what it did. Say "
                "`differentiable=False` in `structure`, or make it move smoothly.",
            )
        finding = Finding(
            True,
            share,
            _JUMP,
            f"no jump found between the levels {search[0]:.4g} and {search[1]:.4g}",
        )
        if type(self.corruption).apply_dot is AbstractCorruption.apply_dot:
            return finding
        return self._derivative(levels[-1]) or finding

    def _derivative(self, level: float) -> Finding | None:
        """A finding where a family's own `apply_dot` is not the derivative."""

        def both(theta, x):
            by_jvp = jax.jvp(
                lambda v: self.corruption.apply(v, x), (theta,), (jnp.ones_like(theta),)
            )[1]
            return self.corruption.apply_dot(theta, x), by_jvp

        dot, truth = (
            np.asarray(array, np.float64)
            for array in self._call(_quickly(both), level, self.x)
        )
        finding = self._finding(
            {level: _share(dot - truth, dot, truth)},
            "the error of `apply_dot`, compared with the derivative of `apply`,",
            "Without an `apply_dot` of its own the family gets the right one.",
        )
        return None if finding.passed else finding

    # What the findings are computed from.

    def _kept(self, name: str, expected: Any, found: Any) -> Finding:
        detail = str(expected)
        if found != expected:
            detail = f"`apply` got a sample of {name} {expected} and returned {found}."
        return Finding(found == expected, None, None, detail)

    def _mismatch(
        self, level: float, adjoint: Callable[[float, np.ndarray], np.ndarray]
    ) -> float:
        """The size of `C^T - adjoint`, relative to both, estimated from two samples.

        For independent normal `x` and `y` of `n` entries, `<M x, y>` is about
        `|M x| |y| / sqrt(n)`.
        """
        size = 0.0
        for x, y in ((self.x, self.y), (self.y, self.x)):
            cx, ay = self.apply(level, x), adjoint(level, y)
            difference = np.sqrt(x.size) * (np.vdot(cx, y) - np.vdot(x, ay))
            scale = np.linalg.norm(cx) * np.linalg.norm(y)
            scale += np.linalg.norm(ay) * np.linalg.norm(x)
            size = max(size, abs(difference) / scale if scale else 0.0)
        return float(size)

    def _negativity(self, level: float) -> float:
        """Minus the least eigenvalue over the largest, by the power iteration."""

        def iterate(step: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
            v = self.x / np.linalg.norm(self.x)
            for _ in range(_POWER_STEPS):
                w = step(v)
                norm = np.linalg.norm(w)
                if not norm > 0:
                    return v
                v = w / norm
            return v

        v = iterate(lambda v: self.apply(level, v))
        largest = abs(float(np.vdot(v, self.apply(level, v))))
        if not largest > 0:
            return 0.0
        v = iterate(lambda v: largest * v - self.apply(level, v))
        return max(0.0, -float(np.vdot(v, self.apply(level, v))) / largest)

    def _finding(
        self,
        sizes: dict[float, float],
        what: str,
        cure: str,
        *,
        promised: bool = True,
        tolerance: float | None = None,
    ) -> Finding:
        """A finding from the deviation at each level, `nan` taken for the largest."""
        tolerance = self.tolerance if tolerance is None else tolerance
        worst = max(sizes, key=lambda level: np.nan_to_num(sizes[level], nan=np.inf))
        size = sizes[worst]
        passed = bool(size <= tolerance)
        if not promised:
            return Finding(None, size, None, "not promised")
        detail = f"{what} at the level {worst:.4g}"
        if not passed:
            detail = (
                f"{detail} is {size:.2g}, relative to the sample; up to "
                f"{tolerance:.2g} passes. {cure}"
            )
        return Finding(passed, size, tolerance, detail)


def _share(deviation: Any, *parts: np.ndarray) -> float:
    """The size of a deviation relative to that of its parts."""
    size = sum(float(np.linalg.norm(part)) for part in parts)
    return float(np.linalg.norm(deviation)) / size if size else 0.0

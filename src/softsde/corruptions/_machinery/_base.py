"""The base class of every corruption: one method to write, the rest follows."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from ..._checks import check_shape, concrete
from ..._types import Sample, ScalarLike
from ._bases import multiply_waves
from ._structure import Structure


class AbstractCorruption(eqx.Module):
    r"""A family $C(\theta)$ of linear operators on one sample.

    A subclass writes `apply`; the adjoint, the derivative in the level and the lineax
    operator follow from it. `apply` must be linear in `x`. It needs a derivative in
    `theta` only for `apply_dot`. A subclass that knows more about its operators says so
    in `structure`. [`softsde.corruptions.check`][] tries all this on random samples.

    For each parameter of its constructor, a subclass has an attribute of the same name
    with a value from which the constructor makes an equal object (parameters like
    `*members` are one tuple). Then a process that uses it can be saved.

    !!! example

        ```python
        class Shade(ss.corruptions.AbstractCorruption):
            def apply(self, theta, x):
                return x * jnp.exp(-theta * jnp.arange(x.shape[0]))[:, None, None]
        ```
    """

    @abc.abstractmethod
    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The corrupted sample $C(\theta) x$.

        **Arguments:**

        - `theta`: the level, a scalar.
        - `x`: one sample.

        **Returns:** an array shaped like `x`.
        """

    @property
    def structure(self) -> Structure:
        """The promises of this family; none, unless a subclass makes some."""
        return Structure()

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The adjoint $C(\theta)^\top x$.

        It is `apply` where the structure promises symmetry, otherwise the transpose of
        `apply`, taken by jax.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.
        """
        self.check_level(theta)
        if self.structure.symmetric:
            return self.apply(theta, x)
        (out,) = jax.linear_transpose(lambda v: self.apply(theta, v), x)(x)
        return out

    def apply_dot(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The derivative in the level, $\frac{dC}{d\theta}(\theta)\, x$.

        It is a forward-mode derivative (`jax.jvp`) of `apply`.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.

        **Raises:** `ValueError` for a family that declares that it jumps.
        """
        self.check_level(theta)
        structure = self.structure
        if structure.differentiable is False:
            raise ValueError(
                f"`{type(self).__name__}` jumps as its level grows, so it has no "
                "derivative `apply_dot`. The solvers of softsde (`Momentum`, `DDIM`, "
                "`Multistep`, ...) step it without one; a solver of vector fields "
                "needs a corruption that moves smoothly, such as `SoftMask` for masks."
            )
        theta = jnp.asarray(theta, working_dtype(x))
        one = jnp.ones_like(theta)
        if structure.basis is not None:
            rates = jax.jvp(self.eigenvalues, (theta,), (one,))[1]
            return multiply_in_basis(self, rates, x)
        return jax.jvp(lambda v: self.apply(v, x), (theta,), (one,))[1]

    def operator(
        self, theta: ScalarLike, structure: jax.ShapeDtypeStruct
    ) -> lx.AbstractLinearOperator:
        r"""$C(\theta)$ as a [lineax](https://docs.kidger.site/lineax/) operator.

        **Arguments:**

        - `theta`: the level, a scalar.
        - `structure`: shape and dtype of one sample, as `jax.ShapeDtypeStruct`.

        **Returns:** an operator whose leaves are arrays, tagged with what the family
        promises. It can be transposed, composed, materialised (`as_matrix`) and solved
        with like any other operator of lineax.
        """
        self.check_level(theta)
        promises = self.structure
        tags = set()
        if promises.symmetric:
            tags.add(lx.symmetric_tag)
        if promises.positive_semidefinite:
            tags.add(lx.positive_semidefinite_tag)
        if promises.basis in ("pixel", "every"):
            tags.add(lx.diagonal_tag)
        return lx.FunctionLinearOperator(
            lambda v: self.apply(theta, v), structure, frozenset(tags)
        )

    def check_level(self, theta: Any) -> None:
        """Refuses a level outside `structure.level_range`; a traced level passes.

        **Raises:** `ValueError` for a level that is outside, or is not a number.
        """
        low, high = self.structure.level_range
        if low is None and high is None:
            return
        known = concrete(theta)
        if known is None:
            return
        # A level from a schedule may miss the bound by an error of rounding.
        slack = max(1e-6, 4 * float(jnp.finfo(jnp.result_type(theta, 1.0)).eps))
        below = low is not None and not np.all(
            known >= low - slack * max(1.0, abs(low))
        )
        above = high is not None and not np.all(
            known <= high + slack * max(1.0, abs(high))
        )
        if below or above:
            bounds = " and ".join(
                ([] if low is None else [f"at least {low}"])
                + ([] if high is None else [f"at most {high}"])
            )
            raise ValueError(
                f"`{type(self).__name__}` got the level {known}; expected {bounds}."
            )

    # The methods of families that promise a basis.

    def to_basis(self, x: Sample) -> Sample:
        """The coefficients of `x` in the basis that `structure` promises.

        **Raises:** `ValueError` if it promises none.
        """
        del x
        raise ValueError(without_basis(self))

    def from_basis(self, coefficients: Sample) -> Sample:
        """The sample with the given coefficients: the inverse of `to_basis`.

        **Raises:** as `to_basis`.
        """
        del coefficients
        raise ValueError(without_basis(self))

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        r"""The eigenvalues of $C(\theta)$, real, in the order of `to_basis`.

        **Returns:** an array in the dtype of `theta`, shaped like the sample, or a
        scalar where all are equal (always for the basis `"every"`).

        **Raises:** as `to_basis`.
        """
        del theta
        raise ValueError(without_basis(self))


def without_basis(corruption: AbstractCorruption) -> str:
    name, basis = type(corruption).__name__, corruption.structure.basis
    if basis is None:
        return (
            f"`{name}` is not known to be diagonal in a basis (`structure.basis` is "
            "None). Use its `operator` with a solver of lineax."
        )
    return (
        f"`{name}` promises the basis {basis!r} but does not write `eigenvalues`, "
        "`to_basis` and `from_basis`. Subclass `AbstractDiagonalCorruption`, which "
        "needs `eigenvalues` only."
    )


def working_dtype(x: Sample) -> Any:
    """The dtype to compute in: that of `x`, but at least single precision."""
    return x.dtype if jnp.finfo(x.dtype).bits >= 32 else jnp.float32


def multiply_in_basis(
    corruption: AbstractCorruption, values: Float[Array, "..."], x: Sample
) -> Sample:
    """`x` with its coefficients multiplied by `values`."""
    if values.ndim:
        check_shape(type(corruption).__name__, values.shape, x.shape)
    y = x.astype(working_dtype(x))
    if corruption.structure.basis == "fourier":
        return multiply_waves(values, y).astype(x.dtype)
    return corruption.from_basis(values * corruption.to_basis(y)).astype(x.dtype)

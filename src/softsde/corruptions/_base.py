"""What every corruption is: one method to write, the rest by linear algebra."""

import abc
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_shape, concrete
from .._types import Sample, ScalarLike
from ._bases import multiply_waves
from ._structure import Structure


class AbstractCorruption(eqx.Module):
    r"""A family $C(\theta)$ of linear operators on one sample.

    A subclass writes `apply`; the adjoint, the derivative in the level and the lineax
    operator follow from it. `apply` must be linear in `x`; it need not be
    differentiable in `theta` unless something asks for `apply_dot`. A subclass that
    knows more about its operators says so in `structure`.

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
        """What this family promises: nothing, unless a subclass says more."""
        return Structure()

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The adjoint $C(\theta)^\top x$: `apply` where that is symmetric, else by
        transposing it.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.
        """
        self.check_level(theta)
        if self.structure.symmetric:
            return self.apply(theta, x)
        (out,) = jax.linear_transpose(lambda v: self.apply(theta, v), x)(x)
        return out

    def apply_dot(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The derivative in the level, $\frac{dC}{d\theta}(\theta)\, x$, by a jvp.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.

        **Raises:** `ValueError` for a family that is known to jump.
        """
        self.check_level(theta)
        structure = self.structure
        if structure.differentiable is False:
            raise ValueError(
                f"`{type(self).__name__}` jumps as its level grows, so it has no "
                "derivative `apply_dot`. Sample in control form, which needs none "
                "(`form='control'`, the Momentum sampler), or use a corruption that "
                "moves smoothly, such as `SoftMask` for masks."
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
        promises: transpose, compose, materialise (`as_matrix`) and solve with it as
        with any other.
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
        """Refuses a level outside `structure.level_range`; a traced one passes.

        **Raises:** `ValueError` for a level that is outside, or not a number.
        """
        low, high = self.structure.level_range
        if low is None and high is None:
            return
        known = concrete(theta)
        if known is None:
            return
        # A level that comes from a schedule may miss the bound by a rounding.
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

    # For the families that promise a basis.

    def to_basis(self, x: Sample) -> Sample:
        """Coefficients of `x` in the basis that `structure` promises.

        **Raises:** `ValueError` where it promises none.
        """
        del x
        raise ValueError(without_basis(self))

    def from_basis(self, coefficients: Sample) -> Sample:
        """The sample of given coefficients: the inverse, and adjoint, of `to_basis`.

        **Raises:** as `to_basis`.
        """
        del coefficients
        raise ValueError(without_basis(self))

    def eigenvalues(self, theta: ScalarLike) -> Float[Array, "..."]:
        r"""The eigenvalues of $C(\theta)$, real, in the order of `to_basis`.

        **Returns:** an array in the dtype of `theta`, shaped like the sample, or a
        scalar where all are equal.

        **Raises:** as `to_basis`.
        """
        del theta
        raise ValueError(without_basis(self))


def without_basis(corruption: AbstractCorruption) -> str:
    return (
        f"`{type(corruption).__name__}` is not known to be diagonal in a basis "
        "(`structure.basis` is None). Use its `operator` with a solver of lineax."
    )


def working_dtype(x: Sample) -> Any:
    """The dtype to compute in: of `x`, but at least single precision."""
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

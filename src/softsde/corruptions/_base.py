"""What every corruption is: one method to write, the rest by linear algebra."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx

from .._types import Sample, ScalarLike


class AbstractCorruption(eqx.Module):
    r"""A family $C(\theta)$ of linear operators on one sample.

    A subclass writes `apply`; the adjoint, the derivative in the level and the lineax
    operator follow from it. `apply` must be linear in `x`; it need not be
    differentiable in `theta` unless something asks for `apply_dot`.

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

    def adjoint(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The adjoint $C(\theta)^\top x$, by transposing `apply`.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.
        """
        (out,) = jax.linear_transpose(lambda v: self.apply(theta, v), x)(x)
        return out

    def apply_dot(self, theta: ScalarLike, x: Sample) -> Sample:
        r"""The derivative in the level, $\frac{dC}{d\theta}(\theta)\, x$, by a jvp.

        **Arguments:** as `apply`.

        **Returns:** an array shaped like `x`.
        """
        theta = jnp.asarray(theta, x.dtype)
        return jax.jvp(lambda v: self.apply(v, x), (theta,), (jnp.ones_like(theta),))[1]

    def operator(
        self, theta: ScalarLike, structure: jax.ShapeDtypeStruct
    ) -> lx.AbstractLinearOperator:
        r"""$C(\theta)$ as a [lineax](https://docs.kidger.site/lineax/) operator.

        **Arguments:**

        - `theta`: the level, a scalar.
        - `structure`: shape and dtype of one sample, as `jax.ShapeDtypeStruct`.

        **Returns:** an operator whose leaves are arrays: transpose, compose,
        materialise (`as_matrix`) and solve with it as with any other.
        """
        return lx.FunctionLinearOperator(lambda v: self.apply(theta, v), structure)

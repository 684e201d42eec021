"""An oracle gives the posterior mean, score and log density of any process."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.scipy as jsp
from jaxtyping import Array, Float

from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process


class AbstractOracle(eqx.Module):
    """A data distribution with a closed-form posterior mean under any process."""

    @abc.abstractmethod
    def posterior_mean(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        """`E[x0 | x_t = x]`, shaped like `x`."""

    @abc.abstractmethod
    def log_prob(self, process: Process, t: ScalarLike, x: Sample) -> Scalar:
        """Log density of `x_t` at `x`."""

    @abc.abstractmethod
    def sample(self, key: Key) -> Sample:
        """One draw of the clean sample $x_0$."""

    def denoiser(self, process: Process) -> "OracleDenoiser":
        """The exact denoiser of a process."""
        return OracleDenoiser(oracle=self, process=process)

    def given(self, condition: Condition) -> "AbstractOracle":
        """The distribution of the data given a condition, where there is one.

        **Raises:** `ValueError` where the data know no conditions.
        """
        del condition
        raise ValueError(
            f"`{type(self).__name__}` knows no conditions. A `MixtureOracle` can be "
            "conditioned on its component."
        )

    def score(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        """The exact score of `x_t` at `x`, as the gradient of the log density."""
        return jax.grad(lambda v: self.log_prob(process, t, v))(x)


class OracleDenoiser(AbstractDenoiser):
    """The exact denoiser of a process for data that an oracle describes."""

    oracle: AbstractOracle
    process: Process

    def __call__(
        self,
        t: ScalarLike,
        x: Sample,
        condition: Condition = None,
        *,
        key: Key | None = None,
    ) -> Sample:
        del key
        oracle = self.oracle if condition is None else self.oracle.given(condition)
        return oracle.posterior_mean(self.process, jnp.asarray(t, x.dtype), x)


def dense_operator(
    process: Process, t: ScalarLike, x: Sample
) -> Float[Array, "size size"]:
    """`C_t` as a matrix on the flattened sample."""
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    return jax.vmap(lambda v: process.apply(t, v).reshape(-1))(basis).T


def whitener(
    covariance: Float[Array, "size size"],
) -> tuple[Float[Array, "size size"], Scalar]:
    """`W` with `W^T W` the inverse of a covariance, and the log of its determinant.

    The factor of the covariance itself, inverted. When samples of one time are mapped
    over, this is computed once for all of them, and what is left for each is a product.
    (Solving with the factor instead would factorise and solve in batches, which XLA was
    seen to never finish on a CPU of two cores.)
    """
    factor = jnp.linalg.cholesky(covariance)
    identity = jnp.eye(covariance.shape[0], dtype=covariance.dtype)
    inverse = jsp.linalg.solve_triangular(factor, identity, lower=True)
    return inverse, 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


def normal_with(
    covariance: Float[Array, "size size"], key: Key
) -> Float[Array, " size"]:
    """A draw of `N(0, covariance)`."""
    # By the eigenvectors: a covariance may be singular.
    values, vectors = jnp.linalg.eigh(covariance)
    z = jax.random.normal(key, values.shape, covariance.dtype)
    return vectors @ (jnp.sqrt(jnp.maximum(values, 0)) * z)

"""What every oracle gives: posterior mean, score and log density of any process."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import DenoiserFn, Key, Sample, Scalar, ScalarLike
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

    def denoiser(self, process: Process) -> DenoiserFn:
        """The exact denoiser `denoiser(t, x)` of a process."""
        return jax.tree_util.Partial(_denoise, self, process)

    def score(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        """The exact score of `x_t` at `x`, as the gradient of the log density."""
        return jax.grad(lambda v: self.log_prob(process, t, v))(x)


def _denoise(oracle, process, t, x):
    return oracle.posterior_mean(process, t, x)


def dense_operator(
    process: Process, t: ScalarLike, x: Sample
) -> Float[Array, "size size"]:
    """`C_t` as a matrix on the flattened sample."""
    basis = jnp.eye(x.size, dtype=x.dtype).reshape(x.size, *x.shape)
    return jax.vmap(lambda v: process.apply(t, v).reshape(-1))(basis).T


def normal_with(
    covariance: Float[Array, "size size"], key: Key
) -> Float[Array, " size"]:
    """A draw of `N(0, covariance)`."""
    # By the eigenvectors: a covariance may be singular.
    values, vectors = jnp.linalg.eigh(covariance)
    z = jax.random.normal(key, values.shape, covariance.dtype)
    return vectors @ (jnp.sqrt(jnp.maximum(values, 0)) * z)

"""Gaussian data: everything about it is linear algebra."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key, Sample, Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractOracle, dense_operator, normal_with, whitener


class GaussianOracle(AbstractOracle):
    r"""Data $x_0 \sim N(m, \Sigma)$.

    Under a process $x_t \sim N(C_t m,\; S_t)$ with $S_t = C_t \Sigma C_t^\top +
    \sigma_t^2 I$, and $E[x_0|x_t] = m + \Sigma C_t^\top S_t^{-1} (x_t - C_t m)$.
    """

    mean: Sample
    covariance: Float[Array, "size size"]

    def __init__(self, mean, covariance):
        """**Arguments:**

        - `mean`: of one sample, of any shape.
        - `covariance`: of the flattened sample, symmetric and positive semi-definite.

        **Raises:** `ValueError` when the two do not fit.
        """
        mean, covariance = jnp.asarray(mean), jnp.asarray(covariance)
        expected = (mean.size, mean.size)
        if covariance.shape != expected:
            raise ValueError(
                f"`GaussianOracle` got a mean of {mean.size} components and a "
                f"covariance of shape {covariance.shape}; expected {expected}."
            )
        self.mean = mean
        self.covariance = covariance

    def marginal_moments(
        self, process: Process, t: ScalarLike
    ) -> tuple[Float[Array, " size"], Float[Array, "size size"]]:
        """Mean and covariance of the flattened `x_t`."""
        operator = dense_operator(process, t, self.mean)
        noise = process.sigma(jnp.asarray(t, self.mean.dtype)) ** 2
        covariance = operator @ self.covariance @ operator.T
        identity = jnp.eye(self.mean.size, dtype=self.mean.dtype)
        return operator @ self.mean.reshape(-1), covariance + noise * identity

    def posterior_mean(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        mean, covariance = self.marginal_moments(process, t)
        inverse, _ = whitener(covariance)
        white = inverse.T @ (inverse @ (x.reshape(-1) - mean))
        back = process.adjoint(t, white.reshape(x.shape)).reshape(-1)
        return self.mean + (self.covariance @ back).reshape(x.shape)

    def log_prob(self, process: Process, t: ScalarLike, x: Sample) -> Scalar:
        mean, covariance = self.marginal_moments(process, t)
        inverse, log_det = whitener(covariance)
        squared = jnp.sum((inverse @ (x.reshape(-1) - mean)) ** 2)
        return -0.5 * (squared + log_det + x.size * math.log(2 * math.pi))

    def sample(self, key: Key) -> Sample:
        return self.mean + normal_with(self.covariance, key).reshape(self.mean.shape)

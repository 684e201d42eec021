"""A Gaussian mixture: the truth that is neither affine nor a finite set of points."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Int

from .._checks import concrete
from .._types import Key, Sample, Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractOracle, dense_operator, normal_with, whitener


class MixtureOracle(AbstractOracle):
    r"""Data $x_0 \sim \sum_k w_k\, N(m_k, \Sigma_k)$.

    Under a process $x_t \sim \sum_k w_k\, N(C_t m_k,\; S_k)$ with $S_k = C_t \Sigma_k
    C_t^\top + \sigma_t^2 I$, and

    $$E[x_0|x_t] = \sum_k r_k(x_t)\, \big(m_k + \Sigma_k C_t^\top S_k^{-1}
    (x_t - C_t m_k)\big),$$

    where $r_k$ is the posterior probability of the component. Nothing is asked of
    $C_t$: it may be singular, and need not be symmetric or commute with anything.

    !!! example

        ```python
        oracle = ss.oracles.MixtureOracle(
            weights=[0.3, 0.7],
            means=[[-2.0, 0.0], [1.0, 1.0]],
            covariances=[0.1 * np.eye(2), 0.2 * np.eye(2)],
        )
        denoiser = oracle.denoiser(ss.ve(0.01, 5.0))
        ```
    """

    weights: Float[Array, " components"]
    means: Float[Array, "components *shape"]
    covariances: Float[Array, "components size size"]

    def __init__(self, weights, means, covariances):
        """**Arguments:**

        - `weights`: of the components; positive, brought to the sum 1.
        - `means`: of one sample each, stacked in front.
        - `covariances`: of the flattened samples, symmetric and positive
            semi-definite.

        **Raises:** `ValueError` when they do not fit, or for a weight that is not
        positive.
        """
        weights, means, covariances = map(jnp.asarray, (weights, means, covariances))
        number = means.shape[0] if means.ndim > 1 else 0
        size = means[0].size if number else 0
        if not number or weights.shape != (number,):
            raise ValueError(
                f"`MixtureOracle` got `weights` of shape {weights.shape} and `means` "
                f"of shape {means.shape}; expected one weight a component, and samples "
                "stacked in front."
            )
        if covariances.shape != (number, size, size):
            raise ValueError(
                f"`MixtureOracle` got `covariances` of shape {covariances.shape}; "
                f"expected {(number, size, size)}."
            )
        known = concrete(weights)
        if known is not None and not np.all(np.isfinite(known) & (known > 0)):
            raise ValueError(
                f"`MixtureOracle` needs positive `weights`, got {known.tolist()}."
            )
        # Weights that sum to 1 already stay as they are, to the last bit.
        total = jnp.sum(weights)
        close = jnp.abs(total - 1) < 8 * jnp.finfo(weights.dtype).eps
        self.weights = jnp.where(close, weights, weights / total)
        self.means = means
        self.covariances = covariances

    def given(self, condition: Int[ArrayLike, ""]) -> "MixtureOracle":
        """The data of one component; a negative index stands for all of them.

        **Arguments:**

        - `condition`: the index of the component, an integer.
        """
        index = jnp.asarray(condition)
        if not jnp.issubdtype(index.dtype, jnp.integer) or index.ndim:
            raise ValueError(
                "`MixtureOracle` takes the index of a component as a condition, one "
                f"integer a sample; got {index.dtype} of shape {index.shape}."
            )
        number = self.weights.size
        index = eqx.error_if(
            index,
            index >= number,
            f"`MixtureOracle` got a component that there is not; there are {number}, "
            "counted from 0.",
        )
        chosen = (jnp.arange(number) == index) | (index < 0)
        weights = jnp.where(chosen, self.weights, 0)
        return eqx.tree_at(lambda m: m.weights, self, weights / jnp.sum(weights))

    def _posterior(self, process: Process, t: ScalarLike, x: Sample):
        """Log of weight times density, and posterior mean, of each component."""
        operator = dense_operator(process, t, x)
        noise = process.sigma(jnp.asarray(t, x.dtype)) ** 2
        identity = jnp.eye(x.size, dtype=x.dtype)

        def one(weight, mean, covariance):
            mean = mean.reshape(-1)
            cross = covariance @ operator.T
            marginal = operator @ cross + noise * identity
            inverse, log_det = whitener(marginal)
            gap = x.reshape(-1) - operator @ mean
            white = inverse.T @ (inverse @ gap)
            constant = jnp.asarray(x.size * np.log(2 * np.pi), x.dtype)
            log_density = -0.5 * (gap @ white + log_det + constant)
            return jnp.log(weight) + log_density, mean + cross @ white

        return jax.vmap(one)(self.weights, self.means, self.covariances)

    def posterior_mean(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        logits, means = self._posterior(process, t, x)
        return (jax.nn.softmax(logits) @ means).reshape(x.shape)

    def log_prob(self, process: Process, t: ScalarLike, x: Sample) -> Scalar:
        return jax.nn.logsumexp(self._posterior(process, t, x)[0])

    def sample(self, key: Key) -> Sample:
        which_key, normal_key = jax.random.split(key)
        which = jax.random.categorical(which_key, jnp.log(self.weights))
        mean, covariance = self.means[which], self.covariances[which]
        return mean + normal_with(covariance, normal_key).reshape(mean.shape)

"""Data that is a finite set of samples: the distribution a data set really is."""

import jax
import jax.numpy as jnp

from .._types import Key, Sample, Samples, Scalar, ScalarLike
from ..processes import Process
from ._base import AbstractOracle


class EmpiricalOracle(AbstractOracle):
    r"""Data uniform on given samples: $q_0 = \frac1n \sum_i \delta_{x^{(i)}}$.

    Under a process $x_t$ is a mixture of Gaussians about $C_t x^{(i)}$, and
    $E[x_0|x_t]$ the mean of the samples weighted by $e^{-\lVert x_t - C_t x^{(i)}
    \rVert^2 / 2\sigma_t^2}$. It is the denoiser of a network that has memorised its
    training set.
    """

    data: Samples

    def __init__(self, data):
        """**Arguments:**

        - `data`: samples stacked in front, at least one.

        **Raises:** `ValueError` for no samples.
        """
        self.data = jnp.asarray(data)
        if self.data.ndim < 2 or self.data.shape[0] < 1:
            raise ValueError(
                "`EmpiricalOracle` needs samples stacked in front, got shape "
                f"{self.data.shape}."
            )

    def _log_weights(self, process: Process, t: ScalarLike, x: Sample):
        centres = jax.vmap(lambda x0: process.apply(t, x0))(self.data)
        axes = tuple(range(1, self.data.ndim))
        squared = jnp.sum((x[None] - centres) ** 2, axis=axes)
        return -0.5 * squared / process.sigma(jnp.asarray(t, x.dtype)) ** 2

    def posterior_mean(self, process: Process, t: ScalarLike, x: Sample) -> Sample:
        weights = jax.nn.softmax(self._log_weights(process, t, x))
        return jnp.tensordot(weights, self.data, axes=1)

    def log_prob(self, process: Process, t: ScalarLike, x: Sample) -> Scalar:
        sigma = process.sigma(jnp.asarray(t, x.dtype))
        normaliser = x.size * (
            jnp.log(sigma) + 0.5 * jnp.log(2 * jnp.pi).astype(x.dtype)
        )
        log_weights = self._log_weights(process, t, x)
        return jax.nn.logsumexp(log_weights) - jnp.log(self.data.shape[0]) - normaliser

    def sample(self, key: Key) -> Sample:
        return self.data[jax.random.randint(key, (), 0, self.data.shape[0])]

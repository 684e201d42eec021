r"""The prior that is Gaussian: mean and covariance of corrupted data."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Sample, Scalar
from ..processes import Process
from ._prior import AbstractPrior, components


class GaussianPrior(AbstractPrior):
    r"""$x_T \sim N(\mu,\; F^\top F + \sigma_T^2 I)$, with $\mu$ and $F$ fitted on data.

    It is fitted on $C_T x_0$ itself, since borders darken under a blur and constants do
    not stay constant.

    !!! example

        ```python
        prior = ss.GaussianPrior.fit(process, images)
        x1 = prior.sample(key)
        ```
    """

    mean: Sample
    #: Principal directions of $C_T x_0$, each scaled by its standard deviation.
    factors: Float[Array, "rank *shape"]
    sigma: Scalar
    process: Process
    time: float = eqx.field(static=True)

    @classmethod
    def fit(
        cls,
        process: Process,
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        time: float | None = None,
        rank: int | None = None,
        max_samples: int = 4096,
    ) -> "GaussianPrior":
        r"""Fits mean and covariance of $C_T x_0$ on data.

        **Arguments:**

        - `process`: whose law is fitted.
        - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced
            over them, are used.
        - `time`: the time $T$ at which sampling will start; by default the last.
        - `rank`: how many principal directions to keep; by default those whose
            standard deviation is above a hundredth of the noise's (all, if there is no
            noise to hide the others).

        **Returns:** the prior.

        **Raises:** `ValueError` for fewer than two samples, data that is not finite or
        a time that the process does not have; `TypeError` for data that is not
        floating-point.
        """
        parts = components("GaussianPrior.fit", process, data, time, rank, max_samples)
        scales = np.sqrt((parts.coordinates**2).sum(0) / (len(parts.coordinates) - 1))
        factors = scales.reshape(-1, *[1] * (parts.directions.ndim - 1))
        factors = factors * parts.directions
        dtype = parts.sigma.dtype
        return cls(
            mean=jnp.asarray(parts.mean, dtype),
            factors=jnp.asarray(factors, dtype),
            sigma=parts.sigma,
            process=process,
            time=parts.time,
        )

    def sample(self, key: Key) -> Sample:
        signal_key, noise_key = jax.random.split(key)
        z = jax.random.normal(signal_key, (self.factors.shape[0],), self.mean.dtype)
        eta = self.process.draw_noise(noise_key, self.mean)
        return self.mean + jnp.tensordot(z, self.factors, axes=1) + self.sigma * eta

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density at `x`; needs $\sigma_T > 0$.

        The factors are orthogonal, so the covariance is diagonal in their basis.
        """
        rank = self.factors.shape[0]
        flat = self.factors.reshape(rank, x.size)
        difference = (x - self.mean).reshape(-1)
        variances = jnp.sum(flat**2, axis=1)
        along = flat @ difference
        noise = self.sigma**2
        # Woodbury, one direction at a time.
        squared = jnp.sum(difference**2) / noise
        squared = squared - jnp.sum(along**2 / (noise * (noise + variances)))
        log_det = jnp.sum(jnp.log1p(variances / noise)) + x.size * jnp.log(noise)
        return -0.5 * (squared + log_det + x.size * math.log(2 * math.pi))

r"""The prior that remembers the data: corrupted samples, and noise."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Sample, Scalar
from ..processes import Process
from ._prior import AbstractPrior, components


class EmpiricalPrior(AbstractPrior):
    r"""$x_T = C_T x^{(i)} + \sigma_T \eta$ for an $x^{(i)}$ drawn from given data.

    The exact law of $x_T$ under the empirical distribution, up to the directions of
    $C_T x_0$ that the noise hides, which are dropped. A few numbers are kept for each
    image: its brightness, say, whose law is often far from Gaussian.

    !!! example

        ```python
        prior = ss.EmpiricalPrior.fit(process, images)
        x1 = prior.sample(key)
        ```
    """

    mean: Sample
    #: Orthonormal principal directions of $C_T x_0$.
    directions: Float[Array, "rank *shape"]
    #: The coordinates of each image along them.
    coordinates: Float[Array, "number rank"]
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
    ) -> "EmpiricalPrior":
        r"""Corrupts the data and keeps what the noise does not hide.

        **Arguments:** as in [`softsde.GaussianPrior.fit`][]; `max_samples` is how many
        images are kept to draw from.

        **Returns:** the prior.

        **Raises:** as there.
        """
        parts = components("EmpiricalPrior.fit", process, data, time, rank, max_samples)
        dtype = parts.sigma.dtype
        return cls(
            mean=jnp.asarray(parts.mean, dtype),
            directions=jnp.asarray(parts.directions, dtype),
            coordinates=jnp.asarray(parts.coordinates, dtype),
            sigma=parts.sigma,
            process=process,
            time=parts.time,
        )

    def sample(self, key: Key) -> Sample:
        which_key, noise_key = jax.random.split(key)
        which = jax.random.randint(which_key, (), 0, self.coordinates.shape[0])
        signal = jnp.tensordot(self.coordinates[which], self.directions, axes=1)
        eta = self.process.draw_noise(noise_key, self.mean)
        return self.mean + signal + self.sigma * eta

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density at `x`, a mixture of Gaussians; needs $\sigma_T > 0$."""
        difference = (x - self.mean).reshape(-1)
        rank = self.directions.shape[0]
        along = self.directions.reshape(rank, x.size) @ difference
        across = jnp.sum(difference**2) - jnp.sum(along**2)
        gaps = jnp.sum((along[None] - self.coordinates) ** 2, axis=1)
        exponents = -0.5 * (across + gaps) / self.sigma**2
        log_scale = jnp.log(self.sigma) + 0.5 * math.log(2 * math.pi)
        number = self.coordinates.shape[0]
        return jax.nn.logsumexp(exponents) - math.log(number) - x.size * log_scale

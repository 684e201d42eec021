r"""Priors: how to draw $x_T$, fitted on data.

At the end of the process the corrupted data are few numbers plus noise: under a heavy
blur an image is little more than its brightness. A prior is fitted on $C_T x_0$ itself,
not on a guess of it, since borders darken and constants do not stay constant.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._checks import check_samples
from ._types import Key, Sample, Scalar
from .processes import Process


class AbstractPrior(eqx.Module):
    """A distribution of $x_T$ to start sampling from."""

    @abc.abstractmethod
    def sample(self, key: Key) -> Sample:
        """One draw of $x_T$."""


class GaussianPrior(AbstractPrior):
    r"""$x_T \sim N(\mu,\; F^\top F + \sigma_T^2 I)$, with $\mu$ and $F$ fitted on data.

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

    @classmethod
    def fit(
        cls,
        process: Process,
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        rank: int | None = None,
        max_samples: int = 4096,
    ) -> "GaussianPrior":
        r"""Fits mean and covariance of $C_T x_0$ on data.

        **Arguments:**

        - `process`: whose end is fitted.
        - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced
            over them, are used.
        - `rank`: how many principal directions to keep; by default those whose
            standard deviation is above a hundredth of the noise's (all, if there is no
            noise to hide the others).

        **Returns:** the prior.

        **Raises:** `ValueError` for fewer than two samples, or data that is not finite;
        `TypeError` for data that is not floating-point.
        """
        if len(data) < 2:
            raise ValueError(
                f"`GaussianPrior.fit` needs at least two samples, got {len(data)}."
            )
        check_samples("GaussianPrior.fit", data)
        chosen = np.linspace(0, len(data) - 1, min(len(data), max_samples)).astype(int)
        clean = jnp.asarray(np.asarray(data)[chosen])
        ended = np.asarray(
            eqx.filter_jit(jax.vmap(lambda x: process.apply(process.t1, x)))(clean),
            np.float64,
        )
        if not np.isfinite(ended).all():
            raise ValueError("`GaussianPrior.fit` got data that is not finite.")
        shape = ended.shape[1:]
        mean = ended.mean(axis=0)
        deviations = (ended - mean).reshape(len(ended), -1)
        scales, directions = _principal(deviations / np.sqrt(len(ended) - 1))
        sigma = process.sigma(jnp.asarray(process.t1, clean.dtype))
        if rank is None:
            rank = max(1, int(np.sum(scales > 1e-2 * float(sigma))))
        factors = (scales[:, None] * directions)[:rank]
        return cls(
            jnp.asarray(mean, clean.dtype),
            jnp.asarray(factors.reshape(-1, *shape), clean.dtype),
            sigma,
        )

    def sample(self, key: Key) -> Sample:
        signal_key, noise_key = jax.random.split(key)
        dtype = self.mean.dtype
        z = jax.random.normal(signal_key, (self.factors.shape[0],), dtype)
        eta = jax.random.normal(noise_key, self.mean.shape, dtype)
        return self.mean + jnp.tensordot(z, self.factors, axes=1) + self.sigma * eta

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density at `x`; needs $\sigma_T > 0$.

        The factors are orthogonal, so the covariance is diagonal in their basis.
        """
        rank = self.factors.shape[0]
        flat = self.factors.reshape(rank, -1)
        difference = (x - self.mean).reshape(-1)
        variances = jnp.sum(flat**2, axis=1)
        along = flat @ difference
        noise = self.sigma**2
        # Woodbury, one direction at a time.
        squared = jnp.sum(difference**2) / noise
        squared = squared - jnp.sum(along**2 / (noise * (noise + variances)))
        log_det = jnp.sum(jnp.log1p(variances / noise)) + x.size * jnp.log(noise)
        return -0.5 * (squared + log_det + x.size * jnp.log(2 * jnp.pi).astype(x.dtype))


def _principal(
    rows: Float[np.ndarray, "number size"],
) -> tuple[Float[np.ndarray, " rank"], Float[np.ndarray, "rank size"]]:
    """Singular values, largest first, and right singular vectors of `rows`.

    By the eigenvectors of whichever product is smaller: the values that matter here
    are far above the square root of the rounding error that this costs.
    """
    number, size = rows.shape
    gram = rows.T @ rows if size <= number else rows @ rows.T
    squared, vectors = np.linalg.eigh(gram)
    squared, vectors = squared[::-1], vectors[:, ::-1]
    kept = squared > 1e-14 * squared[0]
    scales = np.sqrt(squared[kept])
    if size <= number:
        return scales, vectors.T[kept]
    return scales, (vectors.T[kept] @ rows) / scales[:, None]

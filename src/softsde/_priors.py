r"""Priors: how to draw $x_T$, fitted on data.

At the end of the process the corrupted data are few numbers plus noise: under a heavy
blur an image is little more than its brightness. A prior is fitted on $C_T x_0$ itself,
not on a guess of it, since borders darken and constants do not stay constant.
"""

import abc
import math
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._checks import check_samples, check_shape, concrete
from ._choose import evenly_spaced
from ._types import Key, Sample, Scalar
from .oracles import AbstractOracle
from .processes import Process


class AbstractPrior(eqx.Module):
    """A distribution of $x_T$ to start sampling from.

    A subclass writes `sample`; with `log_prob` it serves likelihoods too.
    """

    @abc.abstractmethod
    def sample(self, key: Key) -> Sample:
        """One draw of $x_T$."""

    def log_prob(self, x: Sample) -> Scalar:
        """Log density at `x`, where the prior has one.

        **Raises:** `ValueError` where it has none.
        """
        del x
        raise ValueError(
            f"`{type(self).__name__}` has no density. For likelihoods use a prior "
            "with `log_prob`, such as `GaussianPrior.fit(process, data)`."
        )


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
        parts = _components("GaussianPrior.fit", process, data, rank, max_samples)
        scales = np.sqrt((parts.coordinates**2).sum(0) / (len(parts.coordinates) - 1))
        factors = scales.reshape(-1, *[1] * (parts.directions.ndim - 1))
        factors = factors * parts.directions
        dtype = parts.sigma.dtype
        return cls(
            jnp.asarray(parts.mean, dtype), jnp.asarray(factors, dtype), parts.sigma
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


class EmpiricalPrior(AbstractPrior):
    r"""$x_T = C_T x^{(i)} + \sigma_T \eta$ for an $x^{(i)}$ drawn from given data.

    The exact law of $x_T$ under the empirical distribution, up to the directions of
    $C_T x_0$ that the noise hides, which are dropped. What is left of an image is a few
    numbers, kept for each: brightness, say, whose law is often far from Gaussian.

    !!! example

        ```python
        prior = ss.EmpiricalPrior.fit(process, images)
        x1 = prior.sample(key)
        ```
    """

    mean: Sample
    #: Orthonormal principal directions of $C_T x_0$.
    directions: Float[Array, "rank *shape"]
    #: What each image has along them.
    coordinates: Float[Array, "number rank"]
    sigma: Scalar

    @classmethod
    def fit(
        cls,
        process: Process,
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        rank: int | None = None,
        max_samples: int = 4096,
    ) -> "EmpiricalPrior":
        r"""Corrupts the data and keeps what the noise does not hide.

        **Arguments:** as in [`softsde.GaussianPrior.fit`][]; `max_samples` is how many
        images are kept to draw from.

        **Returns:** the prior.

        **Raises:** as there.
        """
        parts = _components("EmpiricalPrior.fit", process, data, rank, max_samples)
        dtype = parts.sigma.dtype
        return cls(
            jnp.asarray(parts.mean, dtype),
            jnp.asarray(parts.directions, dtype),
            jnp.asarray(parts.coordinates, dtype),
            parts.sigma,
        )

    def sample(self, key: Key) -> Sample:
        which_key, noise_key = jax.random.split(key)
        which = jax.random.randint(which_key, (), 0, self.coordinates.shape[0])
        signal = jnp.tensordot(self.coordinates[which], self.directions, axes=1)
        eta = jax.random.normal(noise_key, self.mean.shape, self.mean.dtype)
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


class ExactPrior(AbstractPrior):
    r"""The exact law $q_T$ of $x_T$ for data that an oracle describes.

    !!! example

        ```python
        oracle = ss.oracles.EmpiricalOracle(images)
        prior = ss.ExactPrior(oracle, process)
        x1 = prior.sample(key)
        ```
    """

    oracle: AbstractOracle
    process: Process

    def sample(self, key: Key) -> Sample:
        data_key, noise_key = jax.random.split(key)
        x0 = self.oracle.sample(data_key)
        return self.process.perturb(self.process.t1, x0, key=noise_key)[0]

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density of $q_T$ at `x`."""
        return self.oracle.log_prob(self.process, self.process.t1, x)


def check_prior(
    owner: str, prior: AbstractPrior, process: Process, shape: tuple[int, ...] | None
) -> None:
    r"""Refuses a prior that cannot be that of $x_T$, for samples of a shape if known.

    What was drawn with the wrong noise would be taken for signal, and sampling go on as
    if nothing were wrong.

    **Raises:** `ValueError` for draws of another shape, or fitted priors whose noise is
    not that of the process at `t1`.
    """
    if shape is not None:
        drawn = eqx.filter_eval_shape(prior.sample, jax.random.key(0))
        check_shape(f"{owner}`'s prior `{type(prior).__name__}", drawn.shape, shape)
    if isinstance(prior, (GaussianPrior, EmpiricalPrior)):
        sigma = prior.sigma
    elif isinstance(prior, ExactPrior):
        sigma = prior.process.sigma(prior.process.t1)
    else:
        return
    theirs, ours = concrete(sigma), concrete(process.sigma(process.t1))
    if theirs is None or ours is None:
        return
    if not np.isclose(float(theirs), float(ours), rtol=1e-3):
        raise ValueError(
            f"`{owner}` got a `{type(prior).__name__}` whose noise is {theirs:.4g}, "
            f"but the process ends with sigma({process.t1}) = {ours:.4g}: it is the "
            "prior of another process. Fit it on this one."
        )


class _Components(NamedTuple):
    """Corrupted data in the basis of its principal directions."""

    mean: Float[np.ndarray, "*shape"]
    directions: Float[np.ndarray, "rank *shape"]
    coordinates: Float[np.ndarray, "number rank"]
    sigma: Scalar


def _components(owner, process, data, rank, max_samples) -> _Components:
    if len(data) < 2:
        raise ValueError(f"`{owner}` needs at least two samples, got {len(data)}.")
    check_samples(owner, data)
    clean = jnp.asarray(evenly_spaced(data, max_samples))
    corrupt = eqx.filter_jit(jax.vmap(lambda x: process.apply(process.t1, x)))
    ended = np.asarray(corrupt(clean), np.float64)
    if not np.isfinite(ended).all():
        raise ValueError(f"`{owner}` got data that is not finite.")
    mean = ended.mean(axis=0)
    deviations = (ended - mean).reshape(len(ended), -1)
    scales, directions = _principal(deviations)
    sigma = process.sigma(jnp.asarray(process.t1, clean.dtype))
    if rank is None:
        spread = scales / np.sqrt(len(ended) - 1)
        rank = max(1, int(np.sum(spread > 1e-2 * float(sigma))))
    directions = directions[:rank]
    shaped = directions.reshape(-1, *mean.shape)
    return _Components(mean, shaped, deviations @ directions.T, sigma)


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

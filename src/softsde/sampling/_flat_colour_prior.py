r"""The paper's prior (its Appendix D): one colour for the whole image, and noise."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples
from .._types import Key, Sample, Scalar
from ..processes import Process
from ._prior import AbstractPrior, check_time


class FlatColourPrior(AbstractPrior):
    r"""$x_T = c + \sigma_T \eta$ with one colour $c \sim N(\mu,
    \operatorname{diag}(s^2))$ for all pixels of an image.

    The paper's prior for a process that ends in a heavy blur (Appendix D): a
    three-dimensional Gaussian with a diagonal covariance is fitted on the mean colours
    of the images.

    A blur with periodic or reflecting borders leaves a flat colour in the end. The
    paper's own blur pads with zeros, and darkens towards the borders. There even the
    mean image is not flat, and the fitted priors [`softsde.GaussianPrior`][] and
    [`softsde.EmpiricalPrior`][] are
    [much nearer](../processes.md#where-sampling-starts).

    !!! example

        ```python
        prior = ss.sampling.FlatColourPrior.fit(process, images)
        x1 = prior.sample(key)
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Appendix D.
    """

    #: Mean of the colours.
    mean: Float[Array, " channels"]
    #: Standard deviation of each channel of the colours.
    std: Float[Array, " channels"]
    #: Of one image.
    shape: tuple[int, ...] = eqx.field(static=True)
    sigma: Scalar
    process: Process
    time: float = eqx.field(static=True)

    @classmethod
    def fit(
        cls,
        process: Process,
        data: Float[Array | np.ndarray, "number height width channels"],
        *,
        time: float | None = None,
    ) -> "FlatColourPrior":
        r"""Fits mean and variance of each channel to the mean colours of images.

        **Arguments:**

        - `process`: whose noise is added.
        - `data`: clean images stacked in front.
        - `time`: the time $T$ at which sampling will start; by default the last.

        **Returns:** the prior.

        **Raises:** `ValueError` for fewer than two images, samples that are no images,
        data that is not finite or a time that the process does not have; `TypeError`
        for data that is not floating-point.
        """
        owner = "FlatColourPrior.fit"
        if np.ndim(data) != 4:
            raise ValueError(
                f"`{owner}` needs images `(number, height, width, channels)`, got "
                f"shape {np.shape(data)}: it takes the mean colour of each."
            )
        if len(data) < 2:
            raise ValueError(f"`{owner}` needs at least two samples, got {len(data)}.")
        check_samples(owner, data)
        time = check_time(owner, process, time)
        colours = np.asarray(data, np.float64).mean(axis=(1, 2))
        if not np.isfinite(colours).all():
            raise ValueError(f"`{owner}` got data that is not finite.")
        sigma = process.sigma(jnp.asarray(time, jnp.asarray(data[:1]).dtype))
        return cls(
            mean=jnp.asarray(colours.mean(0), sigma.dtype),
            std=jnp.asarray(colours.std(0, ddof=1), sigma.dtype),
            shape=tuple(data.shape[1:]),
            sigma=sigma,
            process=process,
            time=time,
        )

    def sample(self, key: Key) -> Sample:
        colour_key, noise_key = jax.random.split(key)
        z = jax.random.normal(colour_key, self.mean.shape, self.mean.dtype)
        colour = jnp.broadcast_to(self.mean + self.std * z, self.shape)
        return colour + self.sigma * self.process.draw_noise(noise_key, colour)

    def log_prob(self, x: Sample) -> Scalar:
        r"""Log density at `x`; needs $\sigma_T > 0$.

        A channel of $n$ pixels has the covariance $s^2 1 1^\top + \sigma_T^2 I$: its
        mean varies by $s^2 + \sigma_T^2 / n$, and the rest is noise.
        """
        pixels = x.size // self.mean.shape[0]
        means = jnp.mean(x, axis=(0, 1))
        across = jnp.sum((x - jnp.broadcast_to(means, x.shape)) ** 2, axis=(0, 1))
        noise = self.sigma**2
        variance = pixels * self.std**2 + noise
        squared = across / noise + pixels * (means - self.mean) ** 2 / variance
        log_det = (pixels - 1) * jnp.log(noise) + jnp.log(variance)
        return -0.5 * jnp.sum(squared + log_det + pixels * math.log(2 * math.pi))

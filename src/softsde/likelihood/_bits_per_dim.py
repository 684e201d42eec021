"""`bits_per_dim`: what an image of bytes costs to write down under the model."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from .._types import Key, Sample, Scalar
from ..denoisers import AbstractDenoiser
from ..sampling import AbstractPrior
from ._dequantise import cell_width, dequantise as _dequantise
from ._divergence import Divergence, ExactDivergence, make_divergence
from ._log_likelihood import log_likelihood


class BitsPerDim(eqx.Module):
    """The result of `bits_per_dim`; less is better."""

    #: Bits a dimension by the mean of the log densities: on average over the draws an
    #: upper bound.
    value: Scalar
    #: By the logarithm of the mean density: the tighter bound, equal for one draw.
    #: `None` for an estimated divergence, under which it bounds nothing.
    log_mean_exp: Scalar | None
    #: Log density at each dequantised draw, in nats and the units of the data.
    log_probs: Float[Array, " draws"]
    #: Evaluations of the denoiser for each draw.
    nfe: Int[Array, " draws"] | None


def bits_per_dim(
    denoiser: AbstractDenoiser,
    image: Sample,
    *,
    prior: AbstractPrior,
    levels: int = 256,
    data_range: tuple[float, float] = (0.0, 1.0),
    dequantise: bool = True,
    num_draws: int = 1,
    divergence: Divergence = "auto",
    key: Key,
    **options: Any,
) -> BitsPerDim:
    r"""Bits a dimension of one image with quantised values.

    The probability of an image is the density's integral over its cell, of side $w = (b
    - a) / L$, so with $x'$ uniform on the cell, [dequantised][softsde.likelihood.
    dequantise], and $n$ components

    $$-\frac{\log_2 P(x)}{n} = -\frac{\log_2 E\, p(x')}{n} - \log_2 w
    \;\le\; -\frac{E \log_2 p(x')}{n} - \log_2 w.$$

    **Arguments:**

    - `denoiser`, `prior`: as in [`softsde.log_likelihood`][].
    - `image`: one image with values on the grid; map over more with `jax.vmap`, with a
        key each.
    - `levels`: $L$, how many values a component can take: 256 for bytes.
    - `data_range`: $(a, b)$, the least and the greatest, in the units of the process.
    - `dequantise`: whether to. `False` evaluates the density at `image` itself, for
        images that have been dequantised before.
    - `num_draws`: how many $x'$ to average over.
    - `divergence`: as there.
    - `key`: of the draws, and of the probes.
    - `options`: the others of [`softsde.log_likelihood`][], such as `rtol`.

    **Returns:** a [`softsde.likelihood.BitsPerDim`][].

    **Raises:** as [`softsde.log_likelihood`][] and
    [`softsde.likelihood.dequantise`][]; `ValueError` for no draws, or several of an
    image that is not dequantised.

    !!! example

        ```python
        prior = ss.GaussianPrior.fit(process, images)
        image = jnp.round(255 * image) / 255
        found = ss.bits_per_dim(
            denoiser,
            image,
            prior=prior,
            divergence="hutchinson",
            rtol=1e-3,
            atol=1e-3,
            key=key,
        )
        found.value
        ```

    ??? cite "Reference"

        Theis, van den Oord and Bethge, *A Note on the Evaluation of Generative Models*,
        ICLR 2016. Burda, Grosse and Salakhutdinov, *Importance Weighted Autoencoders*,
        ICLR 2016, for the mean of several draws.
    """
    width = cell_width("bits_per_dim", levels, data_range)
    if num_draws < 1 or (num_draws > 1 and not dequantise):
        raise ValueError(
            f"`bits_per_dim` got `num_draws={num_draws}` with `dequantise="
            f"{dequantise}`; expected at least 1, and 1 for an image as it is."
        )
    trace = make_divergence(divergence, image.size)

    def one(key):
        draw_key, probe_key = jax.random.split(key)
        x = image
        if dequantise:
            x = _dequantise(image, levels=levels, data_range=data_range, key=draw_key)
        found = log_likelihood(
            denoiser,
            x,
            prior=prior,
            divergence=trace,
            key=probe_key,
            **options,
        )
        return found.log_prob, found.nfe

    log_probs, nfe = jax.vmap(one)(jax.random.split(key, num_draws))
    bits = lambda nats: -(nats / image.size + math.log(width)) / math.log(2)
    tighter = None
    if isinstance(trace, ExactDivergence):
        tighter = bits(jax.nn.logsumexp(log_probs) - math.log(num_draws))
    return BitsPerDim(bits(jnp.mean(log_probs)), tighter, log_probs, nfe)

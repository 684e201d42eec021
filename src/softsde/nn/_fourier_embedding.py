"""Random Fourier features of a scalar."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray


class FourierEmbedding(eqx.Module):
    r"""Sines and cosines of a scalar at random frequencies.

    $$\bigl(\sin 2 \pi w_1 v, \dots, \sin 2 \pi w_n v,\
    \cos 2 \pi w_1 v, \dots, \cos 2 \pi w_n v\bigr),
    \qquad w_i \sim N(0, s^2).$$

    The frequencies are drawn once and get no gradient. They are an array of the
    network like any other, so an optimiser with weight decay must leave them out.

    ??? cite "Reference"

        Tancik et al., *Fourier Features Let Networks Learn High Frequency Functions in
        Low Dimensional Domains*, NeurIPS 2020. Song et al., *Score-Based Generative
        Modeling through Stochastic Differential Equations*, ICLR 2021.
    """

    frequencies: Float[Array, " number"]

    def __init__(self, number: int, *, scale: float = 16.0, key: PRNGKeyArray):
        """**Arguments:**

        - `number`: of frequencies, half the number of features.
        - `scale`: standard deviation of the frequencies.
        - `key`: for the frequencies.
        """
        drawn = jax.random.normal(key, (number,), jnp.float32)
        self.frequencies = jnp.asarray(np.float32(scale)) * drawn

    def __call__(self, v: Float[Array, ""]) -> Float[Array, " features"]:
        """**Arguments:**

        - `v`: a scalar, such as the logarithm of the noise.

        **Returns:** the features, twice as many as frequencies, of the dtype of `v`.
        """
        frequencies = jax.lax.stop_gradient(self.frequencies).astype(v.dtype)
        # In this order, which is the published one: 2 pi times a rounded product.
        angles = v * frequencies * 2 * math.pi
        return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])

"""Random Fourier features of a vector."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._at_size import at_least_float32
from ._initial_weights import initial_weight


class VectorFourierFeatures(eqx.Module):
    r"""A vector, and sines and cosines of it at random frequencies.

    $$\bigl(x,\ \sqrt 2 \sin(2 \pi B x),\ \sqrt 2 \cos(2 \pi B x)\bigr), \qquad
    B_{ij} \sim N(0, s^2)$$

    A perceptron learns the fine structure of a distribution in few dimensions much
    faster from these than from $x$ alone. Features with frequencies of standard
    deviation $s$ tell points apart that are about $1 / (2 \pi s)$ from each other. The
    frequencies are drawn once and get no gradient.

    ??? cite "Reference"

        Tancik et al., *Fourier Features Let Networks Learn High Frequency Functions in
        Low Dimensional Domains*, NeurIPS 2020.
    """

    frequencies: Float[Array, "size number"]

    def __init__(
        self, size: int, number: int, *, scale: float = 1.0, key: PRNGKeyArray
    ):
        """**Arguments:**

        - `size`: length of the vector.
        - `number`: of frequencies; there are `size + 2 * number` features.
        - `scale`: standard deviation of the frequencies, in turns per unit of `x`.
        - `key`: for the frequencies.

        **Raises:** `ValueError` for a number or a scale that is not positive.
        """
        if number < 1 or not scale > 0:
            raise ValueError(
                f"`VectorFourierFeatures` got `number={number}` and `scale={scale}`; "
                "expected positive numbers, such as `number=32, scale=1.0`."
            )
        drawn = initial_weight(key, (size, number), fan_in=1)
        self.frequencies = jnp.asarray(np.float32(scale)) * drawn

    def __call__(self, x: Float[Array, " size"]) -> Float[Array, " features"]:
        """**Arguments:**

        - `x`: a vector.

        **Returns:** the features, of the dtype of `x`.
        """
        # The angles have more digits than bfloat16.
        v = x.astype(at_least_float32(x.dtype))
        frequencies = jax.lax.stop_gradient(self.frequencies).astype(v.dtype)
        angles = 2 * math.pi * (v @ frequencies)
        # sqrt(2) gives the features unit mean square.
        waves = 2**0.5 * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        return jnp.concatenate([x, waves.astype(x.dtype)])

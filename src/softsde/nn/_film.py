"""Feature-wise linear modulation: how blocks read time and condition."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._initial_weights import full, initial_weight


class FiLM(eqx.Module):
    r"""A scale and a shift of each feature, linear in an embedding.

    $$y = (1 + a)\, x + b, \qquad (a, b) = e\, W + c.$$

    It returns `1 + a` and `b`, because a norm before it takes them as its own scale and
    shift ([`softsde.nn.GroupNorm`][]).

    ??? cite "Reference"

        Perez, Strub, de Vries, Dumoulin and Courville, *FiLM: Visual Reasoning with a
        General Conditioning Layer*, AAAI 2018.
    """

    weight: Float[Array, "embedding_size two_features"]
    bias: Float[Array, " two_features"]

    def __init__(self, embedding_size: int, num_features: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `embedding_size`: length of the embedding of time and condition.
        - `num_features`: length of what is scaled and shifted.
        - `key`: for the initial weights.
        """
        shape = (embedding_size, 2 * num_features)
        self.weight = initial_weight(key, shape, fan_in=embedding_size)
        self.bias = full(0.0, 2 * num_features)

    def __call__(
        self, embedding: Float[Array, " embedding_size"]
    ) -> tuple[Float[Array, " features"], Float[Array, " features"]]:
        """**Arguments:**

        - `embedding`: of time and condition.

        **Returns:** the scale `1 + a` and the shift `b`, in the dtype of `embedding`.
        """
        dtype = embedding.dtype
        # The bias is added after the split. XLA computes all but the product anew for
        # every pixel, and in the other order that loop is not vectorised on CPU.
        scale, shift = jnp.split(embedding @ self.weight.astype(dtype), 2)
        scale_bias, shift_bias = jnp.split(self.bias.astype(dtype), 2)
        return 1 + (scale + scale_bias), shift + shift_bias

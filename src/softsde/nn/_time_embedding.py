"""Features of the time, which every block of a network reads."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._initial_weights import split
from ._linear import Linear


class TimeEmbedding(eqx.Module):
    """A vector of features of the time, for every block to read.

    Sines and cosines of `t` at frequencies spaced geometrically from 1 to
    `max_frequency` (radians per unit of time), then two linear maps with SiLU. The
    default resolves differences of about a hundredth of the unit interval, in which
    a noise schedule may grow tenfold over a fifth of it; much higher frequencies
    would only make the network rough in `t`.

    The embedding of a condition is added before the last SiLU, so that the blocks read
    time and condition in one vector.
    """

    first: Linear
    second: Linear
    num_features: int = eqx.field(static=True)
    max_frequency: float = eqx.field(static=True)

    def __init__(
        self,
        size: int,
        *,
        num_features: int = 64,
        max_frequency: float = 256.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `size`: length of the embedding.
        - `num_features`: how many sines and cosines in all; even.
        - `max_frequency`: the highest, in radians per unit of time.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.first = Linear(num_features, size, key=next(keys))
        self.second = Linear(size, size, key=next(keys))
        self.num_features = num_features
        self.max_frequency = max_frequency

    def __call__(
        self,
        t: Float[Array, ""],
        condition: Float[Array, " size"] | None = None,
    ) -> Float[Array, " size"]:
        """**Arguments:**

        - `t`: the time, in [0, 1].
        - `condition`: the embedding of a condition, or `None`.

        **Returns:** the embedding, of the dtype of `t`.
        """
        frequencies = jnp.geomspace(
            1.0, self.max_frequency, self.num_features // 2, dtype=t.dtype
        )
        angles = t * frequencies
        # sqrt(2) gives the features unit mean square.
        waves = 2**0.5 * jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
        features = self.second(jax.nn.silu(self.first(waves)))
        if condition is not None:
            features = features + condition.astype(features.dtype)
        return jax.nn.silu(features)

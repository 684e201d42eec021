"""Sines and cosines of a step number at fixed frequencies."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def positional_embedding(
    v: Float[Array, ""], size: int, *, max_period: float = 10000.0
) -> Float[Array, " size"]:
    r"""Sines and cosines of a scalar at fixed frequencies.

    $$\bigl(\sin w_0 v, \dots, \sin w_{n-1} v,\ \cos w_0 v, \dots, \cos w_{n-1} v\bigr),
    \qquad w_i = P^{-i / (n - 1)},$$

    with $n$ half of `size`, and a zero at the end where `size` is odd. They tell whole
    numbers up to the period $P$ apart (Vaswani et al., 2017; Ho et al., 2020).

    **Arguments:**

    - `v`: a scalar, such as the number of a step.
    - `size`: number of features; at least 4.
    - `max_period`: $P$, radians to the slowest wave.

    **Returns:** the features, of the dtype of `v`.

    **Raises:** `ValueError` for fewer than 4 features.
    """
    half = size // 2
    if half < 2:
        raise ValueError(
            f"`positional_embedding` got `size={size}`; expected at least 4, for two "
            "frequencies."
        )
    exponents = np.arange(half) * -(math.log(max_period) / (half - 1))
    angles = v * jnp.asarray(np.exp(exponents), v.dtype)
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)])
    return jnp.pad(waves, (0, size % 2))

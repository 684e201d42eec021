"""The jaxtyping aliases that signatures share, and nothing else."""

from collections.abc import Callable
from typing import TypeAlias

from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray

#: One sample: an image `(height, width, channels)` or a vector `(dim,)`.
Sample: TypeAlias = Float[Array, "*shape"]
#: Samples stacked in front.
Samples: TypeAlias = Float[Array, "batch *shape"]
#: What is accepted for a time, a level or a standard deviation.
ScalarLike: TypeAlias = Float[ArrayLike, ""]
#: What the library itself returns for one.
Scalar: TypeAlias = Float[Array, ""]
#: A typed key (`jax.random.key`) or a raw one (`jax.random.PRNGKey`).
Key: TypeAlias = PRNGKeyArray
#: `denoiser(t, x) -> E[x0 | x_t = x]`.
DenoiserFn: TypeAlias = Callable[..., Sample]

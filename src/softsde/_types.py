"""The aliases that signatures of several rooms share, and nothing else."""

from typing import Literal, TypeAlias

from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, PyTree

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
#: What a denoiser is told beside the sample: a label, a vector, any PyTree of arrays.
Condition: TypeAlias = PyTree
#: What lies beyond the border of an image.
Padding: TypeAlias = Literal["zero", "reflect", "symmetric", "periodic"]

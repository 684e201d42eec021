r"""All distances in closed form: the cost of sending each image to itself.

$$W_2^2(C_i \# q_0,\, C_j \# q_0) \le E \lVert C_i x_0 - C_j x_0 \rVert^2,$$

with equality where $C_i^\top C_j$ is symmetric and positive semi-definite (the page on
transport has the proof). One pass over the data gives the right-hand side for all
pairs: with the increments $\delta_a = C_a x_0 - C_{a-1} x_0$, the squared distance of
$(i, j)$ is the sum over the block $i < a, b \le j$ of
$E \langle \delta_a, \delta_b \rangle$. A sum of increments keeps small distances
accurate in float32, where a difference of second moments would not.

Since $C$ is linear, the distances depend on the data only through
$E\, x_0 x_0^\top$. So if there are more samples than dimensions, a square root of that
matrix replaces them all. If $C$ is diagonal in a basis, the diagonal of that matrix
there is enough.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ...corruptions import AbstractCorruption
from .._batches import batches, corrupt_batch, sample_dtype
from ._metric import AbstractTransportMetric, PairDistances

# Numbers in one block of corrupted data: 64 MB in single precision.
_BLOCK = 1 << 24


class Brenier(AbstractTransportMetric):
    r"""Distances of the identity coupling, $\sqrt{E \lVert C_i x - C_j x \rVert^2}$.

    They are the exact 2-Wasserstein distances if the corruption promises, in
    `structure`, to be positive semi-definite and to commute across levels: by Brenier's
    theorem $C_j C_i^+$ is then the optimal map. For every other corruption they are an
    upper bound, and the result says so. One pass over the data gives all pairs, in
    memory that does not grow with the data.

    The distances are without noise. The same noise on both sides does not change the
    cost of this coupling and lowers the distance, so with noise they are an upper
    bound.

    **Arguments:**

    - `batch_size`: the number of samples to read at a time; by default as many as fill
        some tens of megabytes.

    !!! example

        ```python
        heat = ss.corruptions.HeatBlur((28, 28, 1))
        levels = np.geomspace(0.1, 4.0, 24)
        result = ss.fitting.transport_schedule(
            heat, levels, images, num_points=4, metric=ss.fitting.Brenier()
        )
        assert result.kind == "exact"
        ```
    """

    batch_size: int | None = eqx.field(static=True, default=None)

    def __check_init__(self):
        if self.batch_size is not None and self.batch_size < 1:
            raise ValueError(
                f"`Brenier` got `batch_size={self.batch_size}`; expected at least 1, "
                "or None for as many samples as fill some tens of megabytes."
            )

    def distances(
        self,
        corruption: AbstractCorruption,
        levels: Float[np.ndarray, " candidates"],
        data: Float[Array | np.ndarray, "number *shape"],
        *,
        num_points: int | None = None,
        epsilon: float | None = None,
        key: PRNGKeyArray | None = None,
    ) -> PairDistances:
        del num_points, epsilon, key  # all pairs are cheap, so none is left out
        matrix = coupling_distances(
            corruption, levels, data, batch_size=self.batch_size
        )
        return PairDistances(matrix, "exact" if is_exact(corruption) else "upper bound")


def is_exact(corruption: AbstractCorruption) -> bool:
    """Tells whether the corruption promises that the identity coupling is optimal."""
    promises = corruption.structure
    return promises.positive_semidefinite and promises.commuting


def coupling_distances(
    corruption: AbstractCorruption,
    levels: Float[np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    batch_size: int | None = None,
) -> Float[np.ndarray, "candidates candidates"]:
    r"""$\sqrt{E \lVert C_i x_0 - C_j x_0 \rVert^2}$ for all pairs of levels.

    **Arguments:**

    - `corruption`, `levels`: the family and the levels to compare.
    - `data`: clean samples stacked in front.
    - `batch_size`: the number of samples to read at a time; by default as many as make
        a block of `_BLOCK` numbers at all levels.

    **Returns:** the symmetric matrix of distances, in float64.
    """
    levels = np.asarray(levels)
    number, shape = len(data), data.shape[1:]
    dim = int(np.prod(shape))
    if batch_size is None:
        batch_size = max(1, _BLOCK // (levels.size * dim))
    if corruption.structure.basis is not None:
        products = _spectral_products(corruption, levels, data, batch_size)
    else:
        if number > 2 * dim:
            data = _square_root(data).reshape(dim, *shape)
        products = np.zeros((levels.size - 1, levels.size - 1))
        steps = jnp.asarray(levels, sample_dtype(data))
        for batch in batches(data, batch_size):
            products += np.asarray(_increment_products(corruption, steps, batch))
    products /= number
    # Block sums from a two-dimensional running total.
    total = np.zeros((levels.size, levels.size))
    total[1:, 1:] = products.cumsum(0).cumsum(1)
    diagonal = np.diagonal(total)
    squared = diagonal[:, None] + diagonal[None, :] - total - total.T
    return np.sqrt(np.maximum(squared, 0))


@eqx.filter_jit
def _increment_products(corruption, levels, batch):
    """Sum over the batch of inner products of increments, `(levels-1, levels-1)`."""
    # One level after the other: all at once is slower, and takes more memory.
    corrupted = jax.lax.map(
        lambda theta: corrupt_batch(corruption, theta, batch), levels
    )
    increments = jnp.diff(corrupted, axis=0).reshape(levels.size - 1, -1)
    return jnp.matmul(increments, increments.T, precision="highest")


def _spectral_products(corruption, levels, data, batch_size):
    """The same for a corruption that is diagonal in a basis, from its eigenvalues."""
    shape = data.shape[1:]
    to_basis = eqx.filter_jit(lambda batch: jax.vmap(corruption.to_basis)(batch))
    energy = np.zeros(shape)
    for batch in batches(data, batch_size):
        energy += np.square(np.asarray(to_basis(batch), np.float64)).sum(0)
    values = jax.vmap(
        lambda theta: jnp.broadcast_to(corruption.eigenvalues(theta), shape)
    )(jnp.asarray(levels, sample_dtype(data)))
    steps = np.diff(np.asarray(values, np.float64), axis=0)
    steps = steps.reshape(levels.size - 1, -1)
    return (steps * energy.ravel()) @ steps.T


def _square_root(data, batch_size=1024):
    r"""As many samples as dimensions with the same $\sum x x^\top$."""
    dim = int(np.prod(data.shape[1:]))
    moment = np.zeros((dim, dim))
    # In double precision, since a corruption may remove the large directions and keep
    # the small ones.
    for start in range(0, len(data), batch_size):
        batch = np.asarray(data[start : start + batch_size], np.float64)
        batch = batch.reshape(len(batch), dim)
        moment += batch.T @ batch
    try:
        root = np.linalg.cholesky(moment)
    except np.linalg.LinAlgError:  # singular, e.g. a pixel that is always zero
        values, vectors = np.linalg.eigh(moment)
        root = vectors * np.sqrt(np.maximum(values, 0))
    return root.T.astype(data.dtype)

r"""Sinkhorn distances between pairs of a level and a noise.

A node is $C(\theta) x_0 + \sigma \eta$, which is linear in the pair $(x_0, \eta)$. So a
node is a corruption of pairs, and a metric for the levels of a corruption measures the
distances between nodes too.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Sample, ScalarLike
from ..corruptions import AbstractCorruption
from ._transport import Sinkhorn


class _Nodes(AbstractCorruption):
    """Maps a pair of a sample and its noise to the node with a given number."""

    corruption: AbstractCorruption
    levels: Float[Array, " levels"]
    sigmas: Float[Array, " sigmas"]

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        node = jnp.round(jnp.asarray(theta)).astype(int)
        level = self.levels[node // self.sigmas.size].astype(x.dtype)
        sigma = self.sigmas[node % self.sigmas.size].astype(x.dtype)
        noisy = self.corruption.apply(level, x[0]) + sigma * x[1]
        # A corruption keeps the shape of its input; the zeros add nothing to distances.
        return jnp.stack([noisy, jnp.zeros_like(noisy)])


def sinkhorn_nodes(
    metric: Sinkhorn,
    corruption: AbstractCorruption,
    levels: Float[np.ndarray, " levels"],
    sigmas: Float[np.ndarray, " sigmas"],
    data: Float[Array | np.ndarray, "number *shape"],
    key: Key,
) -> Float[np.ndarray, "nodes nodes"]:
    """Estimates for all pairs of nodes in which neither level nor noise falls.

    The other pairs are zero. Each pair takes one run of the algorithm, so this is for
    grids of tens of nodes.
    """
    noise_key, slice_key = jax.random.split(key)
    clean = jnp.asarray(data)
    eta = jax.random.normal(noise_key, clean.shape, clean.dtype)
    both = np.stack([clean, eta], axis=1)
    slices, _ = metric.draw(both, slice_key)
    nodes = np.arange(levels.size * sigmas.size)
    level, sigma = np.divmod(nodes, sigmas.size)
    above = (level[:, None] <= level) & (sigma[:, None] <= sigma)
    first, second = np.nonzero(above & (nodes[:, None] < nodes))
    family = _Nodes(corruption, jnp.asarray(levels), jnp.asarray(sigmas))
    squared, _ = metric.squared_distances(
        family,
        np.stack([first, second], axis=1).astype(slices.dtype),
        slices,
        np.zeros_like(slices),
        np.zeros((first.size, len(slices), 4, slices.shape[1])),
    )
    distances = np.zeros((nodes.size, nodes.size))
    distances[first, second] = distances[second, first] = np.sqrt(squared)
    return distances

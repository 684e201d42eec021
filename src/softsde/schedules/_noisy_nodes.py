r"""Sinkhorn distances between pairs of a level and a noise.

A node is $C(\theta) x_0 + \sigma \eta$, which is linear in the pair $(x_0, \eta)$: so
it is a corruption of pairs, and what measures distances between levels of a corruption
measures those between nodes.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._types import Key, Sample, ScalarLike
from ..corruptions import AbstractCorruption
from ._transport import Sinkhorn


class _Nodes(AbstractCorruption):
    """The node of a number, as a map of the pair of a sample and its noise."""

    corruption: AbstractCorruption
    levels: Float[Array, " levels"]
    sigmas: Float[Array, " sigmas"]

    def apply(self, theta: ScalarLike, x: Sample) -> Sample:
        node = jnp.round(jnp.asarray(theta)).astype(int)
        level = self.levels[node // self.sigmas.size].astype(x.dtype)
        sigma = self.sigmas[node % self.sigmas.size].astype(x.dtype)
        noisy = self.corruption.apply(level, x[0]) + sigma * x[1]
        # Of the shape of what went in; zeros are no distance.
        return jnp.stack([noisy, jnp.zeros_like(noisy)])


def sinkhorn_nodes(
    metric: Sinkhorn,
    corruption: AbstractCorruption,
    levels: Float[np.ndarray, " levels"],
    sigmas: Float[np.ndarray, " sigmas"],
    data: Float[Array | np.ndarray, "number *shape"],
    key: Key,
) -> Float[np.ndarray, "nodes nodes"]:
    """Estimates between all nodes of which one is above the other; zero elsewhere.

    One run of the algorithm for each pair: for grids of tens of nodes.
    """
    noise_key, slice_key = jax.random.split(key)
    clean = jnp.asarray(data)
    eta = jax.random.normal(noise_key, clean.shape, clean.dtype)
    both = np.stack([clean, eta], axis=1)
    slices, _ = metric._draw(both, slice_key)
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

"""Paths through the candidates: which levels to keep, given all distances."""

import numpy as np


def even_path(distances: np.ndarray, num_points: int) -> tuple[int, ...]:
    """The path of `num_points` nodes, first to last, whose longest step is shortest.

    Among those, the one of least total length: the paper's shortest path in the graph
    of edges up to epsilon, at the smallest epsilon that leaves a path of that size.
    """
    size = len(distances)
    forward = np.where(np.triu(np.ones((size, size), bool), 1), distances, np.inf)

    longest = np.full(size, np.inf)
    longest[0] = 0.0
    for _ in range(num_points - 1):
        longest = np.maximum(longest[:, None], forward).min(axis=0)
    epsilon = longest[-1]

    edges = np.where(forward <= epsilon, forward, np.inf)
    length = np.full(size, np.inf)
    length[0] = 0.0
    came_from = []
    for _ in range(num_points - 1):
        through = length[:, None] + edges
        came_from.append(through.argmin(axis=0))
        length = through.min(axis=0)
    path = [size - 1]
    for previous in reversed(came_from):
        path.append(int(previous[path[-1]]))
    return tuple(reversed(path))

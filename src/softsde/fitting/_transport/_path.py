"""Paths through the candidates: which levels to keep, given all distances.

Distances are a square matrix of which only the part above the diagonal is read. A pair
that is unknown, or may not be used, is infinite.
"""

import numpy as np
from jaxtyping import Float

# How many neighbouring values of epsilon are tried where a number of nodes is passed.
_NEIGHBOURS = 64

Distances = Float[np.ndarray, "candidates candidates"]


def smallest_epsilon(distances: Distances, num_points: int | None) -> float:
    """The smallest epsilon such that edges up to epsilon form a path, first to last.

    **Arguments:**

    - `distances`: of all pairs.
    - `num_points`: the number of points of the path; `None` for any number.

    **Returns:** epsilon, or infinity if there is no such path at all.
    """
    forward = _forward(distances)
    size = len(forward)
    longest = np.full(size, np.inf)
    longest[0] = 0.0
    if num_points is None:
        # Candidates are in order, so a path reaches each from those before it.
        for node in range(1, size):
            longest[node] = np.maximum(longest, forward[:, node]).min()
    else:
        for _ in range(num_points - 1):
            longest = np.maximum(longest[:, None], forward).min(axis=0)
    return float(longest[-1])


def path_within(
    distances: Distances, num_points: int, epsilon: float
) -> tuple[int, ...]:
    """The shortest path of `num_points` nodes, first to last, of edges up to epsilon.

    SciPy's shortest paths cannot fix the number of nodes. One relaxation for each edge
    of the path can.
    """
    forward = _forward(distances)
    edges = np.where(forward <= epsilon, forward, np.inf)
    size = len(edges)
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


def even_path(distances: np.ndarray, num_points: int) -> tuple[int, ...]:
    """The path of `num_points` nodes, first to last, with the shortest longest step.

    Among those, the one of least total length. The paper takes the shortest path of
    any number of nodes, and tunes epsilon: see `tuned_path`.
    """
    epsilon = smallest_epsilon(distances, num_points)
    return path_within(distances, num_points, epsilon)


def shortest_path(distances: Distances, epsilon: float) -> tuple[int, ...]:
    """The shortest path, first to last, of edges up to epsilon (Section 3.3).

    Epsilon alone decides the number of nodes. There must be such a path.
    """
    import scipy.sparse

    forward = _forward(distances)
    rows, columns = np.nonzero(forward <= epsilon)
    # A sparse graph takes a length of zero for a missing edge.
    lengths = np.maximum(forward[rows, columns], np.finfo(float).tiny)
    graph = scipy.sparse.csr_array((lengths, (rows, columns)), shape=forward.shape)
    previous = scipy.sparse.csgraph.dijkstra(
        graph, indices=0, return_predecessors=True
    )[1]
    path = [len(forward) - 1]
    while path[-1] != 0:
        path.append(int(previous[path[-1]]))
    return tuple(reversed(path))


def tuned_path(distances: Distances, num_points: int) -> tuple[tuple[int, ...], float]:
    """The shortest path that has `num_points` nodes, and the epsilon that leaves it.

    A larger epsilon allows longer edges, and the shortest path then has fewer nodes, as
    far as distances obey the triangle inequality. So epsilon is bisected over the
    distances that there are. Estimates need not obey it: around the place where the
    number is passed the neighbours are tried as well. If none leaves a path of just so
    many nodes, the nearest number is taken.
    """
    forward = _forward(distances)
    smallest = smallest_epsilon(distances, None)
    values = np.unique(forward[np.isfinite(forward)])
    values = values[values >= smallest]
    paths: dict[int, tuple[int, ...]] = {}

    def nodes(i: int) -> int:
        if i not in paths:
            paths[i] = shortest_path(distances, values[i])
        return len(paths[i])

    low, high = 0, len(values) - 1
    while low < high:
        middle = (low + high) // 2
        if nodes(middle) > num_points:
            low = middle + 1
        else:
            high = middle
    for i in range(max(0, low - _NEIGHBOURS), min(len(values), low + _NEIGHBOURS + 1)):
        if nodes(low) == num_points:
            break
        nodes(i)
    best = min(paths, key=lambda i: (abs(nodes(i) - num_points), abs(i - low)))
    return paths[best], float(values[best])


def _forward(distances: Distances) -> Distances:
    upper = np.triu(np.ones(distances.shape, bool), 1)
    return np.where(upper, distances, np.inf)

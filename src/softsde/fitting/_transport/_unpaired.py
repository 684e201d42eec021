r"""The paper's distances as described: independent slices, regularised as ott-jax does.

[`softsde.fitting.Sinkhorn`][] pairs the slices, takes a smaller regularisation and
removes its bias. Here is the method without these three changes.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..._checks import check_positive
from ...corruptions import AbstractCorruption
from .._batches import corrupt_batch, sample_dtype
from ._metric import AbstractTransportMetric, PairDistances
from ._sinkhorn import import_ott

# Pairs of one compiled call, between two updates of the progress bar.
_CHUNK = 512


class UnpairedSinkhorn(AbstractTransportMetric):
    r"""Regularised distances between *different* images at two levels (Appendix C).

    For the levels $i < j$ it is the square root of ott-jax's regularised cost between a
    slice of the data at level $i$ and another, disjoint slice at level $j$, with
    ott-jax's default regularisation: a twentieth of the standard deviation of the
    costs. All pairs of levels are computed.

    It is the method of the paper, for comparison with it. Two slices differ also
    where the levels do not, and the regularisation adds to every distance: on images
    both are larger than what neighbouring levels differ by
    ([how much](../transport.md#the-papers-method)). To choose a schedule take
    [`softsde.fitting.Brenier`][], or [`softsde.fitting.Sinkhorn`][].

    !!! example

        ```python
        result = ss.fitting.appendix_c_schedule(
            ss.corruptions.GaussianBlur(shape),
            np.geomspace(0.5, 4.0, 6),
            images,
            num_points=3,
            metric=ss.fitting.UnpairedSinkhorn(fraction=0.5),
            key=key,
        )
        ```

    ??? cite "Reference"

        Daras, Delbracio, Talebi, Dimakis and Milanfar, *Soft Diffusion: Score Matching
        with General Corruptions*, TMLR 2023, Appendix C.
    """

    fraction: float = eqx.field(static=True)
    threshold: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)
    progress: bool = eqx.field(static=True)

    def __init__(
        self,
        fraction: float = 0.1,
        *,
        threshold: float = 1e-3,
        max_iterations: int = 2000,
        progress: bool = False,
    ):
        """**Arguments:**

        - `fraction`: share of the data in a slice; there are two of them.
        - `threshold`, `max_iterations`: when Sinkhorn's algorithm stops; the defaults
            are those of ott-jax.
        - `progress`: whether to show a bar.

        **Raises:** `ValueError` for values out of range.
        """
        if not 0 < fraction <= 0.5:
            raise ValueError(
                f"`UnpairedSinkhorn` got `fraction={fraction}`; expected a share of "
                "the data in (0, 0.5]: it takes two slices with no image in common."
            )
        check_positive("UnpairedSinkhorn", "threshold", threshold)
        if max_iterations < 1:
            raise ValueError(
                f"`UnpairedSinkhorn` got `max_iterations={max_iterations}`; expected "
                "1 or more."
            )
        self.fraction = float(fraction)
        self.threshold = float(threshold)
        self.max_iterations = int(max_iterations)
        self.progress = bool(progress)

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
        del num_points, epsilon  # all pairs are computed
        if key is None:
            raise ValueError(
                "`UnpairedSinkhorn` draws its slices at random: pass "
                "`key=jax.random.key(0)`."
            )
        size = round(self.fraction * len(data))
        if size < 2:
            raise ValueError(
                f"`UnpairedSinkhorn` got {len(data)} samples and `fraction="
                f"{self.fraction}`, a slice of {size}; a slice needs at least 2. Raise "
                "`fraction`."
            )
        order = np.asarray(jax.random.permutation(key, len(data)))
        dtype = sample_dtype(data)
        first, second = (
            jnp.asarray(np.asarray(data[np.sort(rows)]), dtype)
            for rows in (order[:size], order[size : 2 * size])
        )
        thetas = jnp.asarray(levels, dtype)
        x, y = (_at_all_levels(corruption, thetas, part) for part in (first, second))

        number = len(levels)
        rows, columns = np.triu_indices(number, 1)
        matrix = np.zeros((number, number))
        with tqdm.tqdm(
            total=rows.size, desc="pairs", disable=not self.progress, leave=False
        ) as bar:
            for start in range(0, rows.size, _CHUNK):
                here = slice(start, start + _CHUNK)
                pairs = np.stack([rows[here], columns[here]], axis=1)
                # All calls have one shape, so that nothing is compiled twice.
                padded = np.pad(pairs, ((0, _CHUNK - len(pairs)), (0, 0)), mode="edge")
                useful = np.arange(_CHUNK) < len(pairs)
                found = _regularised_costs(
                    (self.threshold, self.max_iterations), x, y, padded, useful
                )
                costs = np.asarray(found, np.float64)[: len(pairs)]
                matrix[rows[here], columns[here]] = np.sqrt(np.maximum(costs, 0))
                bar.update(len(pairs))
        return PairDistances(matrix + matrix.T, "estimate")


@eqx.filter_jit
def _at_all_levels(
    corruption: AbstractCorruption,
    thetas: Float[Array, " levels"],
    images: Float[Array, "size *shape"],
) -> Float[Array, "levels size dim"]:
    corrupted = jax.lax.map(lambda t: corrupt_batch(corruption, t, images), thetas)
    return corrupted.reshape(*corrupted.shape[:2], -1)


@eqx.filter_jit
def _regularised_costs(
    settings: tuple[float, int],
    x: Float[Array, "levels size dim"],
    y: Float[Array, "levels size dim"],
    pairs: Int[Array | np.ndarray, "pairs 2"],
    useful: Array | np.ndarray,
) -> Float[Array, " pairs"]:
    geometry, linear_problem, sinkhorn, _ = import_ott()
    threshold, max_iterations = settings

    def solve(pair):
        a, b = x[pair[0]], y[pair[1]]
        # Costs depend on differences only, and small numbers lose less to rounding.
        centre = a.mean(axis=0)[None]
        a, b = a - centre, b - centre
        squares = jnp.sum(a**2, axis=1)[:, None] + jnp.sum(b**2, axis=1)[None, :]
        cost = jnp.maximum(squares - 2 * jnp.matmul(a, b.T, precision="highest"), 0)
        solver = sinkhorn.Sinkhorn(threshold=threshold, max_iterations=max_iterations)
        # ott-jax relies on both promotions, which a user may have forbidden.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            # No `epsilon`: its default, 0.05 times the deviation of the costs.
            problem = linear_problem.LinearProblem(geometry.Geometry(cost_matrix=cost))
            return jnp.asarray(solver(problem).reg_ot_cost, cost.dtype)

    nothing = lambda pair: jnp.zeros((), x.dtype)
    return jax.lax.map(
        lambda inputs: jax.lax.cond(inputs[1], solve, nothing, inputs[0]),
        (jnp.asarray(pairs), jnp.asarray(useful)),
    )

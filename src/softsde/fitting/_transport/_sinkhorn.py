r"""Sinkhorn distances by ott-jax, after the paper's Section 3.3 and Appendix C.

Three choices make them accurate, and differ from the paper's, which are in `_unpaired`;
the page on transport explains each. Both sides of a
pair are the *same* images at two levels, because independent slices differ by far more
than two neighbouring levels do. The regularisation is a share of the mean cost of the
pair. And the Sinkhorn divergence removes the bias,

$$S(\alpha, \beta) = \mathrm{OT}_r(\alpha, \beta)
- \tfrac12 \mathrm{OT}_r(\alpha, \alpha) - \tfrac12 \mathrm{OT}_r(\beta, \beta).$$
"""

import os
import warnings
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import tqdm
from jaxtyping import Array, Float, PRNGKeyArray

from ..._checks import check_non_negative, check_positive
from ...corruptions import AbstractCorruption
from .._batches import corrupt_batch, sample_dtype
from ._cache import fingerprint, load_state, save_state
from ._metric import AbstractTransportMetric, PairDistances
from ._path import smallest_epsilon


class Sinkhorn(AbstractTransportMetric):
    r"""Regularised distances between corrupted slices of the data, by ott-jax.

    For each pair of levels, ott-jax solves $\min_P \langle P, c \rangle - r H(P)$
    between the images of a slice at one level and the same images at the other. $r$ is
    `regularisation` times the mean cost. The two self-distances are subtracted
    (`debias`), and the squares are averaged over the slices. It works for every
    corruption.

    Pairs are computed in a band that grows from the diagonal, until no path can use
    more of them. This assumes that the distance from a level grows with the other
    level. The solver starts each pair from the potentials of its neighbour.

    !!! example

        ```python
        metric = ss.fitting.Sinkhorn(fraction=1.0, num_slices=1)
        blur = ss.corruptions.GaussianBlur(shape)
        levels = np.geomspace(0.5, 4.0, 6)
        result = ss.fitting.transport_schedule(
            blur, levels, images, num_points=3, metric=metric, key=key
        )
        ```

    ??? cite "Reference"

        Cuturi, *Sinkhorn Distances*, NeurIPS 2013. Feydy, Séjourné, Vialard, Amari,
        Trouvé and Peyré, *Interpolating between Optimal Transport and MMD using
        Sinkhorn Divergences*, AISTATS 2019. Cuturi, Meng-Papaxanthos, Tian, Bunne,
        Davis and Teboul, *Optimal Transport Tools (OTT)*, arXiv 2201.12324.
    """

    fraction: float = eqx.field(static=True)
    num_slices: int = eqx.field(static=True)
    regularisation: float = eqx.field(static=True)
    debias: bool = eqx.field(static=True)
    sigma: float = eqx.field(static=True)
    threshold: float = eqx.field(static=True)
    max_iterations: int = eqx.field(static=True)
    batch_size: int = eqx.field(static=True)
    cache: str | None = eqx.field(static=True)
    progress: bool = eqx.field(static=True)

    def __init__(
        self,
        fraction: float = 0.1,
        num_slices: int = 3,
        *,
        regularisation: float = 0.01,
        debias: bool = True,
        sigma: float = 0.0,
        threshold: float = 1e-3,
        max_iterations: int = 2000,
        batch_size: int | None = None,
        cache: str | os.PathLike | None = None,
        progress: bool = False,
    ):
        """**Arguments:**

        - `fraction`: share of the data in a slice. The work for a pair grows with its
            square, so choose a smaller share for more than ten thousand images.
        - `num_slices`: the number of slices to average over.
        - `regularisation`: as a share of the mean cost of a pair.
        - `debias`: subtract the self-distances. Without it the squared distance is the
            transport cost of the regularised plan.
        - `sigma`: standard deviation of the noise added to both sides. Both sides get
            the same draw.
        - `threshold`, `max_iterations`: when Sinkhorn's algorithm stops; the threshold
            is on the L1 error of the marginals.
        - `batch_size`: the number of problems solved at once; by default one on a CPU,
            where the slowest would delay the others, and 32 elsewhere.
        - `cache`: a file for the results so far. A run that was interrupted continues
            from it.
        - `progress`: whether to show a bar.

        **Raises:** `ValueError` for values out of range.
        """
        if not 0 < fraction <= 1:
            raise ValueError(
                f"`Sinkhorn` got `fraction={fraction}`; expected a share of the data, "
                "in (0, 1]."
            )
        for name, value in (
            ("num_slices", num_slices),
            ("max_iterations", max_iterations),
            ("batch_size", 1 if batch_size is None else batch_size),
        ):
            if value < 1:
                raise ValueError(
                    f"`Sinkhorn` got `{name}={value}`; expected 1 or more."
                )
        check_positive("Sinkhorn", "regularisation", regularisation)
        check_positive("Sinkhorn", "threshold", threshold)
        check_non_negative("Sinkhorn", "sigma", sigma)
        if batch_size is None:
            batch_size = 1 if jax.default_backend() == "cpu" else 32
        self.fraction = float(fraction)
        self.num_slices = int(num_slices)
        self.regularisation = float(regularisation)
        self.debias = bool(debias)
        self.sigma = float(sigma)
        self.threshold = float(threshold)
        self.max_iterations = int(max_iterations)
        self.batch_size = int(batch_size)
        self.cache = None if cache is None else os.fspath(cache)
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
        if key is None:
            raise ValueError(
                "`Sinkhorn` draws its slices at random: pass `key=jax.random.key(0)`."
            )
        slices, noise = self.draw(data, key)
        levels = np.asarray(levels, slices.dtype)
        size = levels.size

        inputs = (corruption, levels, slices, noise)
        identity = fingerprint(inputs, self._settings)
        state = _State.empty(size, self.num_slices, slices.shape[1], slices.dtype)
        if self.cache is not None:
            state = load_state(self.cache, identity, state)

        squared, reached, potentials = state

        def bound() -> float:
            smallest = smallest_epsilon(np.sqrt(squared), num_points)
            return smallest if epsilon is None else max(smallest, epsilon)

        with tqdm.tqdm(
            desc="pairs", unit="pair", disable=not self.progress, leave=False
        ) as bar:
            for offset in range(1, size):
                # Only levels whose furthest pair so far may still be on a path get
                # their next pair.
                rows = np.arange(size - offset)
                useful = np.sqrt(squared[rows, reached[rows]]) <= bound()
                rows = rows[useful & (reached[rows] == rows + offset - 1)]
                if not rows.size:
                    continue
                pairs = np.stack([rows, rows + offset], axis=1)
                found, potentials[rows] = self.squared_distances(
                    corruption, levels[pairs], slices, noise, potentials[rows]
                )
                squared[rows, rows + offset] = found
                squared[rows + offset, rows] = found
                reached[rows] = rows + offset
                bar.update(rows.size)
                if self.cache is not None:
                    save_state(self.cache, identity, state)
        return PairDistances(np.sqrt(squared), "estimate")

    def squared_distances(
        self,
        corruption: AbstractCorruption,
        pairs: Float[np.ndarray, "pairs 2"],
        slices: Float[Array | np.ndarray, "slices size *shape"],
        noise: Float[Array | np.ndarray, "slices size *shape"],
        potentials: Float[np.ndarray, "pairs slices 4 size"],
    ) -> tuple[Float[np.ndarray, " pairs"], Float[np.ndarray, "pairs slices 4 size"]]:
        r"""Estimates of $W_2^2$ for pairs of levels, averaged over slices.

        **Arguments:**

        - `corruption`, `pairs`: the family, and pairs of its levels.
        - `slices`, `noise`: clean images, and the noise added to both sides.
        - `potentials`: where the solver starts; zeros if nothing better is known.

        **Returns:** the squared distances, and the potentials at the solution, from
        which neighbouring pairs may start.
        """
        squared = np.zeros(len(pairs))
        potentials = np.array(potentials)
        # All calls have one shape, so that nothing is compiled twice.
        chunk = max(8, self.batch_size)
        for start in range(0, len(pairs), chunk):
            here = slice(start, start + chunk)
            padding = chunk - len(pairs[here])
            padded = np.pad(pairs[here], ((0, padding), (0, 0)), mode="edge")
            starts = np.pad(
                potentials[here], ((0, padding),) + ((0, 0),) * 3, mode="edge"
            )
            wanted = np.arange(chunk) < chunk - padding
            for s in range(len(slices)):
                found, new = _solve_pairs(
                    self._settings,
                    corruption,
                    padded,
                    wanted,
                    slices[s],
                    noise[s],
                    starts[:, s],
                )
                squared[here] += np.asarray(found, np.float64)[wanted]
                potentials[here, s] = np.asarray(new)[wanted]
        return np.maximum(squared / len(slices), 0), potentials

    @property
    def _settings(self):
        return _Settings(
            self.regularisation,
            self.debias,
            self.threshold,
            self.max_iterations,
            self.batch_size,
        )

    def draw(
        self, data: Float[Array | np.ndarray, "number *shape"], key: PRNGKeyArray
    ) -> tuple[
        Float[np.ndarray, "slices size *shape"], Float[np.ndarray, "slices size *shape"]
    ]:
        """The slices of clean samples, and the noise for each sample in them.

        **Raises:** `ValueError` for slices of fewer than two samples.
        """
        size = round(self.fraction * len(data))
        if size < 2:
            raise ValueError(
                f"`Sinkhorn` got {len(data)} samples and `fraction={self.fraction}`, "
                f"a slice of {size}; a slice needs at least 2. Raise `fraction`."
            )
        slice_key, noise_key = jax.random.split(key)
        chosen = np.stack(
            [
                jax.random.choice(k, len(data), (size,), replace=False)
                for k in jax.random.split(slice_key, self.num_slices)
            ]
        )
        slices = np.stack([np.asarray(data[np.sort(rows)]) for rows in chosen])
        slices = slices.astype(sample_dtype(slices[0]))
        noise = np.zeros((self.num_slices, 1, *slices.shape[2:]), slices.dtype)
        if self.sigma > 0:
            noise = jax.random.normal(noise_key, slices.shape, slices.dtype)
            noise = self.sigma * np.asarray(noise)
        return slices, np.broadcast_to(noise, slices.shape)


class _Settings(NamedTuple):
    """The settings on which the solution of one pair depends."""

    regularisation: float
    debias: bool
    threshold: float
    max_iterations: int
    batch_size: int


class _State(NamedTuple):
    """The state of the computation, from which an interrupted run continues exactly."""

    squared: np.ndarray
    reached: np.ndarray
    potentials: np.ndarray

    @classmethod
    def empty(cls, candidates, slices, size, dtype):
        squared = np.full((candidates, candidates), np.inf)
        np.fill_diagonal(squared, 0.0)
        shape = (candidates, slices, 4, size)
        return cls(squared, np.arange(candidates), np.zeros(shape, dtype))


@eqx.filter_jit
def _solve_pairs(settings, corruption, pairs, wanted, images, noise, potentials):
    """Squared distances and potentials, `batch_size` pairs at once."""

    def one(inputs):
        (first, second), useful, start = inputs
        return jax.lax.cond(
            useful,
            lambda: _solve(settings, corruption, first, second, images, noise, start),
            lambda: (jnp.zeros((), images.dtype), start),
        )

    return jax.lax.map(
        one,
        (pairs, wanted, potentials),
        batch_size=None if settings.batch_size == 1 else settings.batch_size,
    )


def _solve(settings, corruption, first, second, images, noise, potentials):
    """One pair on one slice.

    The potentials are `f` and `g` of the pair, then those of the two self-distances.
    """
    geometry, linear_problem, sinkhorn, acceleration = import_ott()
    flat = (len(images), -1)
    clean_x = corrupt_batch(corruption, first, images)
    clean_y = corrupt_batch(corruption, second, images)
    moves = (clean_y - clean_x).reshape(flat)
    x, y = (clean_x + noise).reshape(flat), (clean_y + noise).reshape(flat)
    # Costs depend on differences only, and small numbers lose less to rounding.
    centre = x.mean(axis=0, keepdims=True)
    x, y = x - centre, y - centre

    cost = _costs(x, y, jnp.square(moves).sum(axis=1))
    strength = settings.regularisation * cost.mean()

    def solve(cost, start, **more):
        solver = sinkhorn.Sinkhorn(
            threshold=settings.threshold,
            max_iterations=settings.max_iterations,
            **more,
        )
        problem = linear_problem.LinearProblem(
            geometry.Geometry(cost_matrix=cost, epsilon=strength)
        )
        # ott-jax relies on both promotions, which a user may have forbidden.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            out = solver(problem, init=start)
            return out.f, out.g, out.dual_cost, out.primal_cost

    # Adaptive over-relaxation takes three to eight times fewer iterations where the
    # images have become similar, and no more elsewhere.
    f, g, dual, primal = solve(
        cost,
        (potentials[0], potentials[1]),
        momentum=acceleration.Momentum(start=30),
    )
    if not settings.debias:
        return primal, jnp.stack([f, g, potentials[2], potentials[3]])

    def of_itself(points, start):
        # Averaged updates solve a symmetric problem in a few steps.
        own, _, dual, _ = solve(
            _costs(points, points, jnp.zeros_like(points[:, 0])),
            (start, start),
            parallel_dual_updates=True,
            momentum=acceleration.Momentum(start=0, value=0.5),
        )
        return own, 0.5 * dual

    self_x, half_x = of_itself(x, potentials[2])
    self_y, half_y = of_itself(y, potentials[3])
    return dual - half_x - half_y, jnp.stack([f, g, self_x, self_y])


def _costs(x, y, diagonal):
    """Squared distances of all pairs; `diagonal` holds those of equal index."""
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)[None, :]
    costs = squares - 2 * jnp.matmul(x, y.T, precision="highest")
    own = jnp.eye(len(x), dtype=bool)
    return jnp.where(own, diagonal[:, None], jnp.maximum(costs, 0))


def import_ott():
    """The parts of ott-jax used here, imported on first use because that is slow."""
    with warnings.catch_warnings():
        # ott-jax 0.6 imports jaxopt, which warns that it is no longer maintained.
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import acceleration, sinkhorn
    return geometry, linear_problem, sinkhorn, acceleration

r"""The paper's distances (Section 3.3, Appendix C): Sinkhorn, by ott-jax.

What makes them accurate here is said on the page on transport. In short: both sides of
a pair are the *same* images at two levels, because independent slices differ by far
more than two neighbouring levels do; the regularisation is a share of the mean cost of
the pair; and the Sinkhorn divergence takes its bias away,

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
from ._cache import fingerprint, load_state, save_state
from ._metric import AbstractTransportMetric, PairDistances
from ._path import smallest_epsilon


class Sinkhorn(AbstractTransportMetric):
    r"""Regularised distances between corrupted slices of the data, by ott-jax.

    For each pair, ott-jax solves $\min_P \langle P, c \rangle - r H(P)$ between the
    images of a slice at one level and the same images at the other, $r$ being
    `regularisation` times the mean cost; the two self-distances are taken off
    (`debias`), and the squares averaged over the slices. It promises nothing about the
    corruption and needs nothing of it.

    Pairs are computed in a band that grows from the diagonal, each from the potentials
    of its neighbour, until no path can use more of them: this takes distances from a
    level to grow with the other level.

    !!! example

        ```python
        metric = ss.schedules.Sinkhorn(fraction=1.0, num_slices=1)
        blur = ss.corruptions.GaussianBlur(shape)
        levels = np.geomspace(0.5, 4.0, 6)
        result = ss.schedules.transport_schedule(
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

        - `fraction`: share of the data in a slice; the work of a pair grows with its
            square, so for more than some ten thousand images take less of them.
        - `num_slices`: how many slices to average over.
        - `regularisation`: as a share of the mean cost of a pair.
        - `debias`: take the self-distances off. Without it the transport cost of the
            regularised plan is the distance.
        - `sigma`: standard deviation of noise added to both sides, the same draw.
        - `threshold`, `max_iterations`: of Sinkhorn's algorithm; the threshold is on
            the L1 error of the marginals.
        - `batch_size`: how many problems to solve side by side; by default one on a
            CPU, where the slowest would hold up the others, and 32 elsewhere.
        - `cache`: a file that keeps what was computed; a run that was cut short goes
            on from it.
        - `progress`: show a bar.

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
        slices, noise = self._draw(data, key)
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
                # Of the levels that have a pair at this offset, those whose furthest
                # pair so far may still be part of a path.
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
        - `slices`, `noise`: clean images, and the noise added to both of their sides.
        - `potentials`: to start from, zero where nothing better is known.

        **Returns:** the squared distances, and the potentials for a neighbour to
        start from.
        """
        squared = np.zeros(len(pairs))
        potentials = np.array(potentials)
        # One shape for all calls, so that nothing is compiled twice.
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

    def _draw(self, data, key):
        size = round(self.fraction * len(data))
        if size < 2:
            raise ValueError(
                f"`Sinkhorn` got {len(data)} samples and `fraction={self.fraction}`, "
                f"a slice of {size}; a slice needs 2 at least. Raise `fraction`."
            )
        slice_key, noise_key = jax.random.split(key)
        chosen = np.stack(
            [
                jax.random.choice(k, len(data), (size,), replace=False)
                for k in jax.random.split(slice_key, self.num_slices)
            ]
        )
        slices = np.stack([np.asarray(data[np.sort(rows)]) for rows in chosen])
        slices = slices.astype(jnp.asarray(slices[0, :1]).dtype)
        noise = np.zeros((self.num_slices, 1, *slices.shape[2:]), slices.dtype)
        if self.sigma > 0:
            noise = jax.random.normal(noise_key, slices.shape, slices.dtype)
            noise = self.sigma * np.asarray(noise)
        return slices, np.broadcast_to(noise, slices.shape)


class _Settings(NamedTuple):
    """What the solution of one pair depends on."""

    regularisation: float
    debias: bool
    threshold: float
    max_iterations: int
    batch_size: int


class _State(NamedTuple):
    """All that a run which was cut short needs to go on, to the last bit."""

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
    """Squared distances and potentials, `batch_size` pairs side by side."""

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
    """One pair on one slice; the potentials are `(f, g)`, then of `x`, of `y`."""
    geometry, linear_problem, sinkhorn, acceleration = _ott()
    flat = (len(images), -1)
    clean_x = jax.vmap(lambda image: corruption.apply(first, image))(images)
    clean_y = jax.vmap(lambda image: corruption.apply(second, image))(images)
    moves = (clean_y - clean_x).reshape(flat)
    x, y = (clean_x + noise).reshape(flat), (clean_y + noise).reshape(flat)
    # Costs are of differences, and are sharper where the numbers are small.
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
        # ott-jax counts on both promotions, which a user may have forbidden.
        with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
            out = solver(problem, init=start)
            return out.f, out.g, out.dual_cost, out.primal_cost

    # Adaptive over-relaxation: three to eight times fewer iterations where the images
    # have become alike, and none the worse elsewhere.
    f, g, dual, primal = solve(
        cost,
        (potentials[0], potentials[1]),
        momentum=acceleration.Momentum(start=30),
    )
    if not settings.debias:
        return primal, jnp.stack([f, g, potentials[2], potentials[3]])

    def of_itself(points, start):
        # Averaged updates: those of a symmetric problem converge in a few steps.
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
    """Squared distances `(rows of x, rows of y)`, with a diagonal that is exact."""
    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)[None, :]
    costs = squares - 2 * jnp.matmul(x, y.T, precision="highest")
    own = jnp.eye(len(x), dtype=bool)
    return jnp.where(own, diagonal[:, None], jnp.maximum(costs, 0))


def _ott():
    """The parts of ott-jax used here; it is slow to import, so not before."""
    with warnings.catch_warnings():
        # ott-jax 0.6 imports jaxopt, which announces that it is not maintained.
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import acceleration, sinkhorn
    return geometry, linear_problem, sinkhorn, acceleration

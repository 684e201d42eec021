"""Sinkhorn divergence: optimal transport with a little entropy, without its bias."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped

from ._arrays import AnyArray, check_comparable, check_positive_int, flatten

# The online mode of ott-jax 0.6, which needs less memory, fails with newer JAX.
_MOST = 8192


class SinkhornDivergence(NamedTuple):
    """The divergence, a square, and the regularisation that belongs to it."""

    value: float
    epsilon: float


def sinkhorn_divergence(
    a: Shaped[AnyArray, "num_a ..."],
    b: Shaped[AnyArray, "num_b ..."],
    *,
    epsilon: float | None = None,
    max_iterations: int = 2000,
) -> SinkhornDivergence:
    r"""The Sinkhorn divergence between two sets of samples, by ott-jax.

    $$S_\epsilon(a, b) = W_\epsilon(a, b) - \tfrac12 W_\epsilon(a, a) -
    \tfrac12 W_\epsilon(b, b), \qquad W_\epsilon = \min_\pi \mathbb E_\pi |x - y|^2 +
    \epsilon\, \mathrm{KL}(\pi\, \|\, a \otimes b)$$

    (Genevay et al., 2018; Feydy et al., 2019). It is zero for equal sets and otherwise
    positive, tends to the squared Wasserstein-2 distance for small $\epsilon$, and to
    the squared distance of the means for large. Two samples of one distribution are at
    a positive divergence, which falls faster with their number than that of the exact
    transport does: quote the divergence of two sets of real data along with it.

    Memory grows with the square of the number of samples, so at most 8192 of each are
    accepted: some 2 GB.

    **Arguments:**

    - `a`, `b`: batches of arrays of any one shape, each flattened to a vector.
    - `epsilon`: $\epsilon$, in units of squared distance. By default 0.05 times the
        mean squared distance between two members of `b`, so that divergences to one
        reference are comparable.
    - `max_iterations`: of Sinkhorn's algorithm.

    **Returns:**

    `SinkhornDivergence(value, epsilon)`.

    **Raises:** `ValueError` for empty sets, entries that are not finite, arrays of
    different sizes, too many samples, `epsilon` that is not positive, or an `epsilon`
    so small that the iterations do not converge.

    ```python
    ss.metrics.sinkhorn_divergence(samples, test_images).value
    ```
    """
    a, b = flatten("a", a), flatten("b", b)
    check_comparable("a", a, "b", b)
    check_positive_int("max_iterations", max_iterations)
    if max(len(a), len(b)) > _MOST:
        raise ValueError(
            f"`a` and `b` have {len(a):,} and {len(b):,} members, but at most {_MOST:,}"
            " of each are accepted, as memory grows with their product. Take a random"
            " subset of each."
        )
    if epsilon is None:
        # E |x - x'|^2 is twice the trace of the covariance.
        epsilon = 0.05 * 2 * float(np.var(b, axis=0, dtype=np.float64).sum())
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise ValueError(
            f"`epsilon` is {epsilon:.3g}, but a positive number is expected. By default"
            " it is 0 if all members of `b` are equal: then pass one."
        )
    # Sinkhorn's sums are of the size of the squared norms: without the common offset
    # they keep more digits.
    centre = np.mean(b, axis=0, dtype=np.float64)
    x, y = (jnp.asarray(np.asarray(z, np.float64) - centre, float) for z in (a, b))
    symmetric = {"parallel_dual_updates": True, "momentum": 0.5}
    costs = [
        _entropic_cost(*pair, epsilon, max_iterations, **options)
        for pair, options in (((x, y), {}), ((x, x), symmetric), ((y, y), symmetric))
    ]
    if not all(done for _, done in costs):
        raise ValueError(
            f"Sinkhorn's algorithm did not converge in {max_iterations} iterations with"
            f" `epsilon` {epsilon:.3g}. Take a larger `epsilon`, or raise"
            " `max_iterations`."
        )
    value = costs[0][0] - (costs[1][0] + costs[2][0]) / 2
    return SinkhornDivergence(float(value), float(epsilon))


def _entropic_cost(
    x: Float[Array, "num_x dim"],
    y: Float[Array, "num_y dim"],
    epsilon: float,
    max_iterations: int,
    *,
    momentum: float = 1.0,
    parallel_dual_updates: bool = False,
) -> tuple[float, bool]:
    """The regularised cost of the transport, and whether it has converged."""
    # Slow to import, and needed here only.
    with warnings.catch_warnings():
        # ott-jax 0.6 imports jaxopt, which warns that it is no longer maintained.
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from ott.geometry import geometry
        from ott.problems.linear import linear_problem
        from ott.solvers.linear import acceleration, sinkhorn

    squares = jnp.square(x).sum(axis=1)[:, None] + jnp.square(y).sum(axis=1)[None, :]
    costs = squares - 2 * jnp.matmul(x, y.T, precision="highest")
    solver = sinkhorn.Sinkhorn(
        max_iterations=max_iterations,
        momentum=acceleration.Momentum(start=0, value=momentum),
        parallel_dual_updates=parallel_dual_updates,
    )
    # ott-jax relies on promotion, which a strict configuration of JAX forbids.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        problem = linear_problem.LinearProblem(
            geometry.Geometry(cost_matrix=jnp.maximum(costs, 0), epsilon=epsilon)
        )
        out = solver(problem)
        cost = out.reg_ot_cost
        # A solved problem has its cost; ott-jax declares it as optional.
        assert cost is not None
        return float(cost), bool(out.converged)

"""Sinkhorn divergence: optimal transport with a little entropy, without its bias."""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Shaped

from ._arrays import AnyArray, check_comparable, check_positive_int, flatten


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
    chunk: int = 1024,
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

    Kernels are computed `chunk` rows at a time, so memory grows with the number of
    samples only, not with its square.

    **Arguments:**

    - `a`, `b`: batches of arrays of any one shape, each flattened to a vector.
    - `epsilon`: $\epsilon$, in units of squared distance. By default 0.05 times the
        mean squared distance between two members of `b`, so that divergences to one
        reference are comparable.
    - `max_iterations`: of Sinkhorn's algorithm.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    `SinkhornDivergence(value, epsilon)`.

    **Raises:** `ValueError` for empty sets, entries that are not finite, arrays of
    different sizes, `epsilon` that is not positive, or an `epsilon` so small that the
    iterations do not converge.

    ```python
    ss.metrics.sinkhorn_divergence(samples, test_images).value
    ```
    """
    a, b = flatten("a", a), flatten("b", b)
    check_comparable("a", a, "b", b)
    check_positive_int("max_iterations", max_iterations)
    check_positive_int("chunk", chunk)
    if epsilon is None:
        # E |x - x'|^2 is twice the trace of the covariance.
        epsilon = 0.05 * 2 * float(np.var(b, axis=0, dtype=np.float64).sum())
    if not (np.isfinite(epsilon) and epsilon > 0):
        raise ValueError(
            f"`epsilon` is {epsilon:.3g}, but a positive number is expected. By default"
            " it is 0 if all members of `b` are equal: then pass one."
        )
    # Slow to import, and needed here only.
    with warnings.catch_warnings():
        # ott-jax 0.6 imports jaxopt, which warns that it is no longer maintained.
        warnings.filterwarnings("ignore", "JAXopt", DeprecationWarning)
        from ott.geometry import pointcloud
        from ott.tools import sinkhorn_divergence as ott_divergence

    # Sinkhorn's sums are of the size of the squared norms: without the common offset
    # they keep more digits.
    centre = np.mean(b, axis=0, dtype=np.float64)
    x, y = (jnp.asarray(np.asarray(z, np.float64) - centre, float) for z in (a, b))
    chunked = chunk if max(len(a), len(b)) > chunk else None
    weight_a = jnp.full(len(a), 1 / len(a), x.dtype)
    weight_b = jnp.full(len(b), 1 / len(b), x.dtype)
    # ott-jax relies on promotion, which a strict configuration of JAX forbids.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        value, out = ott_divergence.sinkhorn_divergence(
            pointcloud.PointCloud,
            x,
            y,
            a=weight_a,
            b=weight_b,
            epsilon=epsilon,
            batch_size=chunked,
            solve_kwargs={"max_iterations": max_iterations},
        )
    if not all(bool(done) for done in out.converged):
        raise ValueError(
            f"Sinkhorn's algorithm did not converge in {max_iterations} iterations with"
            f" `epsilon` {epsilon:.3g}. Take a larger `epsilon`, or raise"
            " `max_iterations`."
        )
    return SinkhornDivergence(float(value), float(epsilon))

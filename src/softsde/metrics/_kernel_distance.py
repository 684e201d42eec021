"""Kernel distance: an unbiased relative of the Frechet distance, with error bars."""

import dataclasses

import numpy as np
from jaxtyping import Float, Shaped

from ._arrays import AnyArray, as_features, check_comparable, check_positive_int
from ._estimate import Estimate
from ._kernels import AbstractKernel, PolynomialKernel
from ._pairwise import blocks


def kernel_distance(
    features_a: Shaped[AnyArray, "num_a dim_a"],
    features_b: Shaped[AnyArray, "num_b dim_b"],
    *,
    kernel: AbstractKernel | None = None,
    chunk: int = 2048,
) -> Estimate:
    r"""Squared maximum mean discrepancy, cubic by default (Binkowski et al., 2018).

    $$\mathbb E\, k(a, a') + \mathbb E\, k(b, b') - 2\, \mathbb E\, k(a, b), \qquad
    k(x, y) = \Big( \frac{x \cdot y}{d} + 1 \Big)^3$$

    The cubic kernel compares the first three moments. The value is the U-statistic of
    all pairs (Gretton et al., 2012, Eq. 3). Unlike the Frechet distance it is unbiased
    at any sample size: for equal distributions it is zero on average, hence sometimes
    negative. With Inception features, and with no others, it is their KID.

    The standard error comes from an unbiased estimate of the variance of the
    U-statistic, with both of its orders: that of the projections, which dominates
    between different distributions, and that of the degenerate part, which is all there
    is between equal ones. The interval takes into account that the first of them grows
    with the distance. It covers the truth in 93 to 97 % of draws. The value
    and 1.96 errors cover it in 81 to 100 %, so use `interval`.

    **Arguments:**

    - `features_a`, `features_b`: one row a sample, at least 4 of each.
    - `kernel`: [`softsde.metrics.PolynomialKernel`][] by default.
    - `chunk`: block size; it changes memory and speed, not the result.

    **Returns:**

    The [`softsde.metrics.Estimate`][] of a square, which may be negative.

    **Raises:** `ValueError` for entries that are not finite, rows of different lengths,
    or sets of fewer than 4 rows.

    ```python
    value, error = ss.metrics.kernel_distance(features, reference)
    ```
    """
    features_a = as_features("features_a", features_a, at_least=4)
    features_b = as_features("features_b", features_b, at_least=4)
    check_comparable("features_a", features_a, "features_b", features_b)
    check_positive_int("chunk", chunk)
    kernel = PolynomialKernel() if kernel is None else kernel
    a = _within(features_a, kernel, chunk)
    b = _within(features_b, kernel, chunk)
    between = _between(features_a, features_b, kernel, chunk)
    variance = _variance(a, b, between)
    return Estimate(
        float(variance.value),
        float(np.sqrt(variance.positive)),
        ends=_interval(variance, _slope(a, b, variance)),
    )


@dataclasses.dataclass(frozen=True, eq=False)
class _Within:
    """Sums over the pairs of different members of one set."""

    rows: Float[np.ndarray, " num"]  # sum over j of k(x_i, x_j)
    squares: float  # sum over i and j of k(x_i, x_j)^2
    diagonal: float  # sum over i of k(x_i, x_i)

    @property
    def trace(self) -> float:
        """The trace of the centred kernel: the sum of its eigenvalues."""
        return self.diagonal / self.num - self.mean

    @property
    def num(self) -> int:
        return len(self.rows)

    @property
    def mean(self) -> float:
        """E k(x, x')."""
        return self.rows.sum() / (self.num * (self.num - 1))

    @property
    def square(self) -> float:
        """E k(x, x')^2."""
        return self.squares / (self.num * (self.num - 1))

    @property
    def chain(self) -> float:
        """E k(x, x') k(x, x'')."""
        n = self.num
        return float(self.rows @ self.rows - self.squares) / (n * (n - 1) * (n - 2))

    @property
    def apart(self) -> float:
        """E k(x, x') k(x'', x'''), that is (E k)^2 without bias."""
        n, total = self.num, self.rows.sum()
        pairs = total**2 - 4 * float(self.rows @ self.rows) + 2 * self.squares
        return pairs / (n * (n - 1) * (n - 2) * (n - 3))


@dataclasses.dataclass(frozen=True, eq=False)
class _Between:
    """Sums over the pairs of a member of `a` and a member of `b`."""

    rows: Float[np.ndarray, " num_a"]  # sum over j of k(a_i, b_j)
    columns: Float[np.ndarray, " num_b"]  # sum over i of k(a_i, b_j)
    squares: float  # sum over i and j of k(a_i, b_j)^2

    @property
    def mean(self) -> float:
        """E k(a, b)."""
        return self.rows.sum() / (len(self.rows) * len(self.columns))

    @property
    def square(self) -> float:
        """E k(a, b)^2."""
        return self.squares / (len(self.rows) * len(self.columns))

    @property
    def chain_a(self) -> float:
        """E k(a, b) k(a, b')."""
        n, m = len(self.rows), len(self.columns)
        return float(self.rows @ self.rows - self.squares) / (n * m * (m - 1))

    @property
    def chain_b(self) -> float:
        """E k(a, b) k(a', b)."""
        n, m = len(self.rows), len(self.columns)
        squared = float(self.columns @ self.columns)
        return (squared - self.squares) / (m * n * (n - 1))

    @property
    def apart(self) -> float:
        """E k(a, b) k(a', b'), that is (E k)^2 without bias."""
        n, m, total = len(self.rows), len(self.columns), self.rows.sum()
        ends = float(self.rows @ self.rows + self.columns @ self.columns)
        return (total**2 - ends + self.squares) / (n * (n - 1) * m * (m - 1))


def _within(x: np.ndarray, kernel: AbstractKernel, chunk: int) -> _Within:
    rows, squares, diagonal = np.zeros(len(x)), 0.0, 0.0
    for here, block in blocks(x, chunk):
        for there, other in blocks(x, chunk):
            if there.start < here.start:
                continue  # the kernel is symmetric
            values = kernel(block, other)
            if here == there:
                diagonal += np.trace(values)
                np.fill_diagonal(values, 0.0)
                rows[here] += values.sum(axis=1)
                squares += np.vdot(values, values)
            else:
                rows[here] += values.sum(axis=1)
                rows[there] += values.sum(axis=0)
                squares += 2 * np.vdot(values, values)
    return _Within(rows, float(squares), float(diagonal))


def _between(
    a: np.ndarray, b: np.ndarray, kernel: AbstractKernel, chunk: int
) -> _Between:
    rows, columns, squares = np.zeros(len(a)), np.zeros(len(b)), 0.0
    for here, block in blocks(a, chunk):
        for there, other in blocks(b, chunk):
            values = kernel(block, other)
            rows[here] += values.sum(axis=1)
            columns[there] += values.sum(axis=0)
            squares += np.vdot(values, values)
    return _Between(rows, columns, float(squares))


@dataclasses.dataclass(frozen=True)
class _Variance:
    """The value of the U-statistic, and its variance by its two orders."""

    value: float
    projections: float
    degenerate: float

    @property
    def unbiased(self) -> float:
        return self.projections + self.degenerate

    @property
    def positive(self) -> float:
        """The variance, which is never negative.

        The projections of equal distributions have no variance. Its unbiased estimate
        is negative half of the time, together with the distance: without a floor the
        error would be too small for small values. At 3/8 of the degenerate part, 1.96
        errors cover 95 % for equal distributions.
        """
        floor = max(self.degenerate, 0.0)
        return max(self.projections, -3 / 8 * floor) + floor


def _slope(a: _Within, b: _Within, variance: _Variance) -> float:
    r"""The slope with which the variance of the projections grows with the distance.

    It is $\sum_i \lambda_i \delta_i^2$ where the distance is $\sum_i \delta_i^2$, over
    the eigenfunctions of the kernel: their ratio lies between its eigenvalues. Far from
    zero the ratio is measured. Near zero it is noise, and a typical eigenvalue,
    $\sum \lambda_i^2 / \sum \lambda_i$, takes its place.
    """
    sizes = 1 / a.num + 1 / b.num
    degenerate = max(variance.degenerate, 0.0)
    distance = max(variance.value, 0.0)
    trace = max((a.trace + b.trace) / 2, 0.0)
    if degenerate == 0 or trace == 0:
        return 0.0
    typical = 4 * sizes * degenerate / (2 * sizes**2) / trace
    measured = max(variance.projections, 0.0) * distance
    return (measured + typical * degenerate) / (distance**2 + degenerate)


def _interval(variance: _Variance, slope: float) -> tuple[float, float]:
    r"""All distances from which the value is at most 1.96 of *their* deviations away.

    The variance at a distance $\theta$ is $z + \kappa \max(\theta, 0)$, with $z$ the
    degenerate part. The interval solves $(\theta - v)^2 = q (z + \kappa \theta_+)$,
    as Wilson's does for a proportion: a value that is small by chance has a small
    estimate of its variance, and an interval from that would be too short.
    """
    q = 1.959963984540054**2
    value = variance.value
    degenerate = max(variance.degenerate, 0.0)
    flat = (q * degenerate) ** 0.5
    middle = value + q * slope / 2
    root = max(q * (degenerate + slope * value + q * slope**2 / 4), 0.0) ** 0.5
    low = middle - root if middle - root >= 0 else value - flat
    high = middle + root if value + flat >= 0 else value + flat
    return low, high


def _variance(a: _Within, b: _Within, c: _Between) -> _Variance:
    r"""The variance of the U-statistic, each expectation estimated without bias.

    With $f(x) = \mathbb E k(x, a') - \mathbb E k(x, b')$, and $\zeta$ the variance of
    a kernel that is centred in both arguments (Hoeffding's decomposition),

    $$\frac{4 \operatorname{Var} f(a)}{n} + \frac{4 \operatorname{Var} f(b)}{m} +
    \frac{2 \zeta_{aa}}{n (n - 1)} + \frac{2 \zeta_{bb}}{m (m - 1)} +
    \frac{4 \zeta_{ab}}{n m}.$$
    """
    n, m = a.num, b.num
    # E k(a, a') k(a, b) and E k(a, a') k(a'', b), and the same for b.
    mixed_a = a.rows @ c.rows / (n * (n - 1) * m)
    mixed_b = b.rows @ c.columns / (m * (m - 1) * n)
    apart_a = (a.rows.sum() * c.rows.sum() - 2 * a.rows @ c.rows) / (
        n * (n - 1) * (n - 2) * m
    )
    apart_b = (b.rows.sum() * c.columns.sum() - 2 * b.rows @ c.columns) / (
        m * (m - 1) * (m - 2) * n
    )
    var_a = a.chain - 2 * mixed_a + c.chain_a - a.apart + 2 * apart_a - c.apart
    var_b = b.chain - 2 * mixed_b + c.chain_b - b.apart + 2 * apart_b - c.apart
    zeta_a = a.square - 2 * a.chain + a.apart
    zeta_b = b.square - 2 * b.chain + b.apart
    zeta_c = c.square - c.chain_a - c.chain_b + c.apart
    degenerate = (
        2 * zeta_a / (n * (n - 1)) + 2 * zeta_b / (m * (m - 1)) + 4 * zeta_c / (n * m)
    )
    value = a.mean + b.mean - 2 * c.mean
    return _Variance(value, 4 * var_a / n + 4 * var_b / m, degenerate)

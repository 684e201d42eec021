r"""Finds the smallest level at which samples of $x_T$ are easy to draw.

Two laws of $x_T = C(\theta) x_0 + \sigma \eta$ are easy to draw from. One is a
Gaussian, as far as the data can tell: a [`softsde.GaussianPrior`][] is that law. The
other is any law in few directions, the noise hiding all others: a
[`softsde.EmpiricalPrior`][] then needs few numbers.

The test for a Gaussian looks at the principal directions of $C(\theta) x_0$, one at a
time. In one dimension the Gaussian nearest to a law with quantile function $F^{-1}$ is
known: with $\rho$ the correlation of $F^{-1}$ with the normal quantiles, the distance
to it is $W_2^2 = (1 - \rho^2) \operatorname{Var}$. So $1 - \rho^2$ is the share of a
direction's variance that no Gaussian explains.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import check_positive
from .._choose import evenly_spaced
from .._linalg import principal
from .._types import Key
from ..corruptions import AbstractCorruption
from ._batches import corrupted_rows
from ._candidates import check_data, check_levels

#: The noise hides a direction whose standard deviation is below this share of its own:
#: the skewness of their sum is then below a thousandth of the direction's.
_HIDDEN = 0.1
_NULL_SAMPLES = 20_000


class FinalLevel(eqx.Module):
    """The level that `final_level` chose, and the evidence for it."""

    #: The smallest level that passes; None if none does.
    level: float | None = eqx.field(static=True)
    #: Its index among the candidates.
    index: int | None = eqx.field(static=True)
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: At each candidate, the largest share of a direction's variance that is not
    #: Gaussian.
    departures: Float[np.ndarray, " candidates"]
    #: At each candidate, the largest departure that passes.
    thresholds: Float[np.ndarray, " candidates"]
    #: At each candidate, the number of directions that the noise does not hide.
    ranks: Int[np.ndarray, " candidates"]


def final_level(
    corruption: AbstractCorruption,
    levels: Float[Array | np.ndarray, " candidates"],
    data: Float[Array | np.ndarray, "number *shape"],
    *,
    sigma: float,
    tolerance: float | None = None,
    max_rank: int | None = None,
    significance: float = 0.05,
    max_samples: int = 1000,
    key: Key,
) -> FinalLevel:
    r"""Finds the smallest level at which the prior is easy to draw from.

    By default a level passes if a test cannot tell $C(\theta) x_0 + \sigma \eta$ from a
    Gaussian, along any principal direction that the noise does not hide. The test
    compares the largest $1 - \rho^2$ with its distribution for Gaussian samples, in the
    same number and the same number of directions.

    With enough samples a test finds the smallest departure. Give a `tolerance` to
    decide how large a departure is acceptable. Give `max_rank` for a prior that
    represents any law in few directions.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates.
    - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced over
        them, are used.
    - `sigma`: standard deviation of the noise at the end.
    - `tolerance`: the largest $1 - \rho^2$ that passes, instead of the test.
    - `max_rank`: a level passes if at most this many directions have a standard
        deviation above a tenth of `sigma`, whatever their law.
    - `significance`: the probability with which the test rejects a Gaussian.
    - `max_samples`: more samples make the test stricter.
    - `key`: for the noise, which is the same at all levels.

    **Returns:** a [`softsde.fitting.FinalLevel`][]. Its `level` is None if no candidate
    passes: look at `departures` and `ranks`, then try larger levels, more noise, a
    tolerance or a rank.

    **Raises:** `ValueError` for unsorted levels or levels that the corruption does not
    have, fewer than eight samples, data that is not finite, a `sigma` that is not
    positive, or both `tolerance` and `max_rank`.

    !!! example

        ```python
        blur = ss.corruptions.GaussianBlur(shape)
        levels = np.geomspace(1.0, 20.0, 8)
        found = ss.fitting.final_level(blur, levels, images, sigma=0.1, key=key)
        found.level, found.departures, found.ranks
        ```
    """
    owner = "final_level"
    levels = check_levels(owner, corruption, levels)
    check_data(owner, data)
    check_positive(owner, "sigma", sigma)
    if len(data) < 8:
        raise ValueError(f"`{owner}` needs at least eight samples, got {len(data)}.")
    if tolerance is not None and max_rank is not None:
        raise ValueError(
            f"`{owner}` got both `tolerance`, for a Gaussian prior, and `max_rank`, "
            "for an empirical one; give the one that fits the prior you will use."
        )
    if not 0 < significance < 1:
        raise ValueError(
            f"`{owner}` got `significance={significance}`; expected a probability."
        )
    clean = jnp.asarray(evenly_spaced(data, max_samples))
    noise = np.asarray(jax.random.normal(key, clean.shape, clean.dtype), np.float64)
    noise = sigma * noise.reshape(len(clean), -1)

    departures, ranks = np.zeros(levels.size), np.zeros(levels.size, int)
    quantiles = _normal_quantiles(len(clean))
    for i, theta in enumerate(jnp.asarray(levels, clean.dtype)):
        signal = corrupted_rows(corruption, theta, clean)
        if not np.isfinite(signal).all():
            raise ValueError(f"`{owner}` got data that is not finite.")
        directions = _visible_directions(signal, _HIDDEN * sigma)
        ranks[i] = len(directions)
        if ranks[i]:
            along = (signal + noise) @ directions.T
            departures[i] = _departure(along, quantiles).max()

    if max_rank is not None:
        thresholds, passes = np.full(levels.size, np.inf), ranks <= max_rank
    else:
        if tolerance is None:
            thresholds = _null_quantiles(len(clean), ranks, significance)
        else:
            thresholds = np.full(levels.size, float(tolerance))
        passes = departures <= thresholds
    index = int(np.argmax(passes)) if passes.any() else None
    level = None if index is None else float(levels[index])
    return FinalLevel(level, index, levels, departures, thresholds, ranks)


def _visible_directions(
    rows: Float[np.ndarray, "number size"], least: float
) -> Float[np.ndarray, "rank size"]:
    """Principal directions with a standard deviation above `least`."""
    scales, directions = principal(rows - rows.mean(axis=0))
    return directions[scales / np.sqrt(len(rows) - 1) > least]


def _normal_quantiles(number: int) -> Float[np.ndarray, " number"]:
    """Normal quantiles at the midpoints of equal shares, scaled to unit length."""
    from scipy import special

    quantiles = special.ndtri((np.arange(number) + 0.5) / number)
    return quantiles / np.linalg.norm(quantiles)


def _departure(
    samples: Float[np.ndarray, "number columns"],
    quantiles: Float[np.ndarray, " number"],
) -> Float[np.ndarray, " columns"]:
    """`1 - rho^2` of each column."""
    centred = np.sort(samples, axis=0)
    centred -= centred.mean(axis=0)
    rho = quantiles @ centred / np.linalg.norm(centred, axis=0)
    return 1 - rho**2


def _null_quantiles(
    number: int, ranks: Int[np.ndarray, " levels"], significance: float
) -> Float[np.ndarray, " levels"]:
    """The departure that the largest of `rank` Gaussian directions exceeds by chance.

    The principal directions of a Gaussian are independent. So the largest of `rank`
    departures is below x with the probability P(one is below x) to the power of `rank`.
    """
    single = _null_departures(number)
    return np.quantile(single, (1 - significance) ** (1 / np.maximum(ranks, 1)))


@functools.lru_cache(maxsize=4)
def _null_departures(number: int) -> Float[np.ndarray, " draws"]:
    """Departures of Gaussian samples, simulated with a fixed seed as a table."""
    rng, quantiles = np.random.default_rng(0), _normal_quantiles(number)
    block = max(1, 2_000_000 // number)
    sizes = [min(block, _NULL_SAMPLES - i) for i in range(0, _NULL_SAMPLES, block)]
    draws = (rng.normal(size=(number, size)) for size in sizes)
    return np.concatenate([_departure(samples, quantiles) for samples in draws])

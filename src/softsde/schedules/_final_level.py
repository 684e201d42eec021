r"""Where to end: the smallest level at which samples of $x_T$ are easy to draw.

Easy is one of two things. Either the law of $C(\theta) x_0 + \sigma \eta$ is Gaussian,
as far as data can tell, and a [`softsde.GaussianPrior`][] is that law. Or only few
directions are left that the noise does not hide, and a [`softsde.EmpiricalPrior`][]
needs few numbers.

Gaussian or not is asked along the principal directions of $C(\theta) x_0$, one at a
time. In one dimension the Gaussian nearest to a law with quantile function $F^{-1}$ is
known: with $\rho$ the correlation of $F^{-1}$ with the normal quantiles, $W_2^2 =
(1 - \rho^2) \operatorname{Var}$ to the best of all Gaussians. So $1 - \rho^2$ is the
share of a direction's variance that no Gaussian accounts for.
"""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .._checks import check_positive
from .._types import Key
from ..corruptions import AbstractCorruption
from ._candidates import check_data, check_levels

#: A direction is hidden when its standard deviation is below this share of the noise's:
#: its skewness is then below a thousandth of what it was.
_HIDDEN = 0.1
_NULL_SAMPLES = 20_000


class FinalLevel(eqx.Module):
    """The level that `final_level` chose, and what it was chosen from."""

    #: The smallest level that passes, or None where none does.
    level: float | None = eqx.field(static=True)
    #: Its index among the candidates.
    index: int | None = eqx.field(static=True)
    #: The candidate levels.
    levels: Float[np.ndarray, " candidates"]
    #: At each, the largest share of a direction's variance that is not Gaussian.
    departures: Float[np.ndarray, " candidates"]
    #: How large a departure passes, at each.
    thresholds: Float[np.ndarray, " candidates"]
    #: At each, how many directions the noise does not hide.
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
    r"""The smallest level at which the prior is easy.

    By default: at which the samples of $C(\theta) x_0 + \sigma \eta$ cannot be told
    from a Gaussian's along any of their principal directions that the noise does not
    hide. The test is of the largest $1 - \rho^2$ among them, against what so many
    samples of a Gaussian give in so many directions.

    A test finds any departure, given enough samples. To say instead what departure is
    small enough, give a `tolerance`. For a prior that may have any law in few
    directions, give `max_rank`.

    **Arguments:**

    - `corruption`: the family.
    - `levels`: strictly increasing candidates.
    - `data`: clean samples stacked in front; at most `max_samples`, evenly spaced over
        them, are used.
    - `sigma`: standard deviation of the noise at the end.
    - `tolerance`: pass every level whose largest $1 - \rho^2$ is at most this.
    - `max_rank`: pass every level at which at most so many directions have a standard
        deviation above a tenth of `sigma`, whatever their law.
    - `significance`: of the test, the probability with which it turns down a Gaussian.
    - `max_samples`: more of them make the test stricter.
    - `key`: for the noise, the same at all levels.

    **Returns:** a [`softsde.schedules.FinalLevel`][], whose `level` is None where no
    candidate passes: look at its `departures` and `ranks` then, and give larger levels,
    more noise, a tolerance or a rank.

    **Raises:** `ValueError` for unsorted levels, fewer than eight samples, data that is
    not finite, a `sigma` that is not positive, or both `tolerance` and `max_rank`.

    !!! example

        ```python
        blur = ss.corruptions.GaussianBlur(shape)
        levels = np.geomspace(1.0, 20.0, 8)
        found = ss.schedules.final_level(blur, levels, images, sigma=0.1, key=key)
        found.level, found.departures, found.ranks
        ```
    """
    owner = "final_level"
    levels = check_levels(owner, levels)
    check_data(owner, data)
    check_positive(owner, "sigma", sigma)
    if len(data) < 8:
        raise ValueError(f"`{owner}` needs at least eight samples, got {len(data)}.")
    if tolerance is not None and max_rank is not None:
        raise ValueError(
            f"`{owner}` got both `tolerance`, for a Gaussian prior, and `max_rank`, "
            "for an empirical one; give that of the prior you will sample from."
        )
    if not 0 < significance < 1:
        raise ValueError(
            f"`{owner}` got `significance={significance}`; expected a probability."
        )
    chosen = np.linspace(0, len(data) - 1, min(len(data), max_samples)).astype(int)
    clean = jnp.asarray(np.asarray(data)[chosen])
    noise = np.asarray(jax.random.normal(key, clean.shape, clean.dtype), np.float64)
    noise = sigma * noise.reshape(len(clean), -1)

    departures, ranks = np.zeros(levels.size), np.zeros(levels.size, int)
    quantiles = _normal_quantiles(len(clean))
    for i, theta in enumerate(jnp.asarray(levels, clean.dtype)):
        signal = np.asarray(_corrupt(corruption, theta, clean), np.float64)
        signal = signal.reshape(len(clean), -1)
        if not np.isfinite(signal).all():
            raise ValueError(f"`{owner}` got data that is not finite.")
        directions = _seen_directions(signal, _HIDDEN * sigma)
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


@eqx.filter_jit
def _corrupt(corruption, theta, samples):
    return jax.vmap(lambda x: corruption.apply(theta, x))(samples)


def _seen_directions(
    rows: Float[np.ndarray, "number size"], least: float
) -> Float[np.ndarray, "rank size"]:
    """Principal directions whose standard deviation is above `least`."""
    deviations = rows - rows.mean(axis=0)
    number, size = rows.shape
    if size <= number:
        squared, vectors = np.linalg.eigh(deviations.T @ deviations)
        directions = vectors.T
    else:
        squared, left = np.linalg.eigh(deviations @ deviations.T)
        scale = np.sqrt(np.maximum(squared, 1e-300))
        directions = (left / scale).T @ deviations
    return directions[np.sqrt(np.maximum(squared, 0) / (number - 1)) > least]


def _normal_quantiles(number: int) -> Float[np.ndarray, " number"]:
    """Of the midpoints of equal shares, brought to unit length."""
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

    The principal directions of a Gaussian are independent, so its quantile is one of a
    single direction. That is simulated, with a fixed seed: it is a table.
    """
    single = _null_departures(number)
    return np.quantile(single, (1 - significance) ** (1 / np.maximum(ranks, 1)))


@functools.lru_cache(maxsize=4)
def _null_departures(number: int) -> Float[np.ndarray, " draws"]:
    rng, quantiles = np.random.default_rng(0), _normal_quantiles(number)
    block = max(1, 2_000_000 // number)
    sizes = [min(block, _NULL_SAMPLES - i) for i in range(0, _NULL_SAMPLES, block)]
    draws = (rng.normal(size=(number, size)) for size in sizes)
    return np.concatenate([_departure(samples, quantiles) for samples in draws])

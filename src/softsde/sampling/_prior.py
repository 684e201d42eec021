r"""A prior is a distribution of $x_T$, for one process and one time."""

import abc
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_samples, check_shape, concrete
from .._choose import evenly_spaced
from .._linalg import principal
from .._types import Key, Sample, Scalar
from ..processes import Process, same_process


class AbstractPrior(eqx.Module):
    """A distribution of $x_T$ to start sampling from.

    It belongs to one process and one time, and is refused elsewhere. A subclass has
    both and writes `sample`; with `log_prob` it serves likelihoods too.
    """

    #: The process that it was made for.
    process: eqx.AbstractVar[Process]
    #: The time whose law it is.
    time: eqx.AbstractVar[float]

    @abc.abstractmethod
    def sample(self, key: Key) -> Sample:
        """One draw of $x_T$."""

    def log_prob(self, x: Sample) -> Scalar:
        """Log density at `x`, where the prior has one.

        **Raises:** `ValueError` where it has none.
        """
        del x
        raise ValueError(
            f"`{type(self).__name__}` has no density. For likelihoods use a prior "
            "with `log_prob`, such as `GaussianPrior.fit(process, data)`."
        )


def check_prior(
    owner: str,
    prior: AbstractPrior,
    process: Process,
    time: float,
    shape: tuple[int, ...] | None,
) -> None:
    r"""Refuses a prior of another process, of another time or of another shape.

    A start with the wrong noise, or from too much of the data, would be taken as it is,
    and sampling would go on as if nothing were wrong.

    **Raises:** `ValueError`, with the cure.
    """
    name = type(prior).__name__
    if shape is not None:
        drawn = eqx.filter_eval_shape(prior.sample, jax.random.key(0))
        check_shape(f"{owner}`'s prior `{name}", drawn.shape, shape)
    if not same_process(prior.process, process):
        ours, theirs = (_describe(p, time) for p in (process, prior.process))
        raise ValueError(
            f"`{owner}` got a `{name}` of another process than the denoiser's:\n"
            f"  the prior's:    {theirs}\n  the denoiser's: {ours}\n"
            f"Make it for the denoiser's: `{name}.fit(denoiser.process, data)`."
        )
    if abs(prior.time - time) > 1e-6 * (process.t1 - process.t0):
        raise ValueError(
            f"`{owner}` starts at time {time}, but the `{name}` is that of time "
            f"{prior.time}. Start there, or make a prior for this time: "
            f"`{name}.fit(process, data, time={time})`."
        )


def _describe(process: Process, time: float) -> str:
    sigma = process.known_sigma(time)
    with jax.ensure_compile_time_eval():
        known = concrete(process.level(jnp.asarray(time)))
    level = "traced" if known is None else f"{float(known):.4g}"
    noise = "traced" if sigma is None else f"{sigma:.4g}"
    corruption = type(process.corruption).__name__
    return f"{corruption} at level {level}, sigma {noise} (at time {time})"


class Components(NamedTuple):
    """Corrupted data in the basis of its principal directions."""

    mean: Float[np.ndarray, "*shape"]
    directions: Float[np.ndarray, "rank *shape"]
    coordinates: Float[np.ndarray, "number rank"]
    sigma: Scalar
    time: float


def check_time(owner: str, process: Process, time: float | None) -> float:
    """The time at which sampling will start, by default the last of the process."""
    time = process.t1 if time is None else float(time)
    if not process.t0 <= time <= process.t1:
        raise ValueError(
            f"`{owner}` got `time={time}`, outside the process's [{process.t0}, "
            f"{process.t1}]."
        )
    return time


def components(
    owner: str,
    process: Process,
    data: Float[Array | np.ndarray, "number *shape"],
    time: float | None,
    rank: int | None,
    max_samples: int,
) -> Components:
    """Corrupts data at a time and keeps the directions that the noise does not hide."""
    if len(data) < 2:
        raise ValueError(f"`{owner}` needs at least two samples, got {len(data)}.")
    check_samples(owner, data)
    time = check_time(owner, process, time)
    clean = jnp.asarray(evenly_spaced(data, max_samples))
    corrupt = eqx.filter_jit(jax.vmap(lambda x: process.apply(time, x)))
    ended = np.asarray(corrupt(clean), np.float64)
    if not np.isfinite(ended).all():
        raise ValueError(f"`{owner}` got data that is not finite.")
    mean = ended.mean(axis=0)
    deviations = (ended - mean).reshape(len(ended), -1)
    scales, directions = principal(deviations)
    sigma = process.sigma(jnp.asarray(time, clean.dtype))
    if rank is None:
        spread = scales / np.sqrt(len(ended) - 1)
        rank = max(1, int(np.sum(spread > 1e-2 * float(sigma))))
    directions = directions[:rank]
    shaped = directions.reshape(-1, *mean.shape)
    return Components(mean, shaped, deviations @ directions.T, sigma, time)

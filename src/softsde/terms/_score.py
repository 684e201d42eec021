"""The score as the terms need it: also where there is no noise and never was."""

import jax.numpy as jnp

from .._checks import concrete
from .._types import Sample, Scalar
from ..processes import Process
from ..schedules import Constant


def score_or_zero(process: Process, t: Scalar, y: Sample, x0_hat: Sample) -> Sample:
    """The score; zero where `sigma` is zero, which is only let in where it rests.

    The weight of the score in every term is the growth of the variance or of the noise
    clock, so without noise it has no weight, and its value is not asked.
    """
    mean, std = process.marginal(t, x0_hat)
    noisy = std > 0
    precision = jnp.where(noisy, 1 / jnp.where(noisy, std, 1) ** 2, 0)
    return (mean - y) * precision.astype(y.dtype)


def noiseless(process: Process) -> bool:
    """Whether there is no noise at any time, as in Cold Diffusion."""
    if not isinstance(process.noise, Constant):
        return False
    value = concrete(process.noise.value)
    return value is not None and float(value) == 0


def require_score(process: Process, what: str) -> None:
    """Refuses a process whose score is asked for and has no value at `t0`.

    **Raises:** `ValueError` where `sigma` begins at zero and grows.
    """
    if not noiseless(process):
        process.require_noise(what)

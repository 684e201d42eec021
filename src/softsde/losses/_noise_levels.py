"""A loss on a finite set of noise levels instead of all times."""

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._checks import check_positive, concrete
from .._types import Condition, Key, Sample, Scalar, ScalarLike
from ..denoisers import AbstractDenoiser
from ..processes import Process
from ._base import AbstractLoss, check_denoiser


class AtNoiseLevels(AbstractLoss):
    r"""`loss` at the times at which $\sigma_t$ takes one of the values `sigmas`.

    The interval of times is cut into as many equal parts as there are levels; a time
    stands for the level of its part. So times that are drawn uniformly, as
    [`softsde.losses.batch_loss`][] does, are levels that are drawn uniformly.
    """

    loss: Callable[..., Scalar]
    sigmas: Float[Array, " levels"]

    def __init__(self, loss: Callable[..., Scalar], sigmas):
        """**Arguments:**

        - `loss`: `loss(denoiser, x0, t, condition, *, key) -> scalar`.
        - `sigmas`: the levels, in any order; positive.

        **Raises:** `ValueError` for no levels, or one that is not positive.
        """
        self.loss = loss
        self.sigmas = as_levels("AtNoiseLevels", sigmas)

    def __call__(
        self,
        denoiser: AbstractDenoiser,
        x0: Sample,
        t: ScalarLike,
        condition: Condition = None,
        *,
        key: Key,
    ) -> Scalar:
        check_denoiser("AtNoiseLevels", denoiser)
        t = jnp.asarray(t, x0.dtype)
        time = time_of_level("AtNoiseLevels", self.sigmas, denoiser.process, t)
        return self.loss(denoiser, x0, time, condition, key=key)


def as_levels(owner: str, sigmas) -> Float[Array, " levels"]:
    """The levels in increasing order, checked."""
    if np.ndim(sigmas) != 1 or np.shape(sigmas)[0] < 1:
        raise ValueError(
            f"`{owner}` needs a vector of at least one level, got shape "
            f"{np.shape(sigmas)}."
        )
    check_positive(owner, "sigmas", sigmas)
    return jnp.sort(jnp.asarray(sigmas, jnp.result_type(float)))


def time_of_level(
    owner: str, sigmas: Float[Array, " levels"], process: Process, t: Scalar
) -> Scalar:
    """The time at which the noise has the level that `t` stands for.

    **Raises:** `ValueError` for levels that the process does not reach, or noise that
    has no inverse.
    """
    _check_range(owner, sigmas, process)
    share = (t - process.t0) / (process.t1 - process.t0)
    index = jnp.floor(share * sigmas.size).astype(int)
    # A time `t1` belongs to the last level.
    index = jnp.clip(index, 0, sigmas.size - 1)
    return process.noise.inverse(sigmas.astype(t.dtype)[index])


def _check_range(owner: str, sigmas: Float[Array, " levels"], process: Process) -> None:
    least, most = process.known_sigma(process.t0), process.known_sigma(process.t1)
    levels = concrete(sigmas)
    if levels is None or least is None or most is None:
        return
    # Levels that are the ends themselves differ from them by rounding.
    if levels[0] < least * (1 - 1e-5) or levels[-1] > most * (1 + 1e-5):
        raise ValueError(
            f"`{owner}` has levels from {levels[0]} to {levels[-1]}, but the noise of "
            f"this process runs from {least} to {most}. Choose other levels, or a "
            "process such as `ve(levels.min(), levels.max())`."
        )

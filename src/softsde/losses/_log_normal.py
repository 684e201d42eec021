"""Times at which the noise-to-signal ratio is log-normal, as EDM trains."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float

from .._checks import check_positive, concrete
from .._types import Key, Scalar
from ..processes import Process
from ._times import AbstractTimes, shares


class LogNormalTimes(AbstractTimes):
    r"""Times at which $\log(\sigma_t / \alpha_t) \sim N(\text{mean}, \text{std}^2)$.

    EDM trains at log-normal noise levels $\sigma$ (their Table 1). For any scaling,
    $C_t = \alpha_t I$, that level is $\sigma_t / \alpha_t$. Levels beyond those of the
    process are moved to its first or last time. No derivative goes through the times.

    All weights are 1: the loss is the mean under this density and not under uniform
    times, as in EDM. The density says how much each noise level counts.

    !!! example

        ```python
        denoiser = ss.Denoiser(network, ss.edm())
        loss = ss.losses.CleanPrediction(ss.losses.EDMWeight())
        times = ss.losses.LogNormalTimes(mean=-1.2, std=1.2)
        ss.losses.batch_loss(loss, denoiser, xs, times=times, key=key)
        ```

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    mean: ArrayLike
    std: ArrayLike
    low_discrepancy: bool

    def __init__(
        self,
        mean: ArrayLike = -1.2,
        std: ArrayLike = 1.2,
        *,
        low_discrepancy: bool = True,
    ):
        """**Arguments:**

        - `mean`, `std`: of the logarithm of the noise-to-signal ratio. The defaults are
            those of EDM, for data of standard deviation 0.5.
        - `low_discrepancy`: spread the times of a batch evenly over the probability,
            with one common shift, instead of drawing them independently.

        **Raises:** `ValueError` for a `std` that is not positive.
        """
        check_positive("LogNormalTimes", "std", std)
        self.mean = mean
        self.std = std
        self.low_discrepancy = low_discrepancy

    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        process.require_scaling("`LogNormalTimes`")
        _check_rises(process)
        share = shares(key, number, even=self.low_discrepancy)
        mean, std = (jnp.asarray(v, share.dtype) for v in (self.mean, self.std))
        levels = mean + std * jax.scipy.special.ndtri(share)
        times = jax.lax.stop_gradient(_times_of(process, levels))
        return times, jnp.ones_like(times)


def _log_ratio(process: Process, t: Scalar) -> Scalar:
    # log(sigma_t / alpha_t). Rounding may leave a signal that vanishes below zero.
    alpha = jnp.maximum(process.signal(t), 0)
    return jnp.log(process.sigma(t)) - jnp.log(alpha)


def _times_of(
    process: Process, levels: Float[Array, " number"]
) -> Float[Array, " number"]:
    """The times at which the log ratio has these values, within `[t0, t1]`.

    By bisection: it needs no inverse of the schedules, and is exact to rounding.
    """

    def halve(_, ends):
        low, high = ends
        middle = 0.5 * (low + high)
        reached = jax.vmap(lambda t: _log_ratio(process, t))(middle) >= levels
        return jnp.where(reached, low, middle), jnp.where(reached, middle, high)

    ends = jnp.full_like(levels, process.t0), jnp.full_like(levels, process.t1)
    # Each round gives one bit; times near 0 have a few bits more than `nmant`.
    rounds = jnp.finfo(levels.dtype).nmant + 8
    return jax.lax.fori_loop(0, rounds, halve, ends)[0]


def _check_rises(process: Process) -> None:
    """Refuses a process whose noise-to-signal ratio rests or falls."""
    with jax.ensure_compile_time_eval():
        grid = jnp.linspace(process.t0, process.t1, 65)
        values = concrete(jax.vmap(lambda t: _log_ratio(process, t))(grid))
    if values is not None and not np.all(np.diff(values) > 0):
        at = float(np.linspace(process.t0, process.t1, 65)[np.argmin(np.diff(values))])
        raise ValueError(
            "`LogNormalTimes` needs a noise-to-signal ratio that rises all the time, "
            f"but that of this process does not rise at t = {at:.4g}: there its level "
            "does not determine the time. Use `times='low_discrepancy'`."
        )

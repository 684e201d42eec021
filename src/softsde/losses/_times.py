"""Times at which a batch is evaluated: the base class, and uniform times."""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._types import Key
from ..processes import Process


class AbstractTimes(eqx.Module):
    r"""A distribution of training times. A subclass writes `draw`.

    A batch estimates the mean of the loss $\ell(t)$ under one density of times, by the
    mean of `weights * losses`. [`softsde.losses.UniformTimes`][],
    [`softsde.losses.LowDiscrepancyTimes`][] and [`softsde.losses.ImportanceTimes`][]
    estimate the mean under the uniform density on `[t0, t1]`, with different variances.
    [`softsde.losses.LogNormalTimes`][] estimate it under their own density, which is a
    different objective: it has the effect of another weight in time.
    """

    @abc.abstractmethod
    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        """Draws the times of a batch.

        **Arguments:**

        - `process`: the process whose interval of times is drawn from.
        - `number`: the number of times.
        - `key`: for the draw.

        **Returns:** the times, and the factor of each one's loss in the mean over the
        batch: 1 where the times have the density of the mean.
        """


class UniformTimes(AbstractTimes):
    """Independent times, uniform on `[t0, t1)`."""

    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        times = between(process, shares(key, number, even=False))
        return times, jnp.ones_like(times)


class LowDiscrepancyTimes(AbstractTimes):
    r"""Evenly spaced times with one common random shift: $(u + i / n) \bmod 1$.

    Each time is uniform on `[t0, t1)`, and the mean over a batch varies far less than
    with independent times: for a smooth loss of time alone its error falls as $1/n$
    instead of $1/\sqrt n$.

    ??? cite "Reference"

        Kingma, Salimans, Poole and Ho, *Variational Diffusion Models*, NeurIPS 2021,
        Appendix I.1.
    """

    def draw(
        self, process: Process, number: int, *, key: Key
    ) -> tuple[Float[Array, " number"], Float[Array, " number"]]:
        times = between(process, shares(key, number, even=True))
        return times, jnp.ones_like(times)


def shares(key: Key, number: int, *, even: bool) -> Float[Array, " number"]:
    """Uniform numbers in [0, 1): independent, or evenly spaced with one shift."""
    if not even:
        return jax.random.uniform(key, (number,))
    return (jax.random.uniform(key) + jnp.arange(number) / number) % 1.0


def between(process: Process, share: Float[Array, "..."]) -> Float[Array, "..."]:
    """The times at these shares of the way from `t0` to `t1`."""
    return process.t0 + (process.t1 - process.t0) * share

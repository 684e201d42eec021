r"""A clock is a relative rate of noise, integrated over one step at a time.

A clock injects the variance $d\Lambda_t$ in the time $dt$. Relative to the noise that
is there this is $d\mu = d\Lambda_t / \sigma_t^2$. $\Lambda$ spans many decades where
$\sigma$ does, and differences of a running integral of it lose the noise of the clean
end in single precision. So nothing here is a difference: a clock integrates over the
step that it is given.
"""

import abc

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._types import Scalar, ScalarLike
from ..processes import Process

# Gauss-Legendre: exact for polynomials of degree 15 over a step.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class AbstractClock(eqx.Module):
    r"""Tells how much noise is injected between two times.

    A subclass writes `rate`, and `mu` and `variance` where it has them in closed form;
    otherwise they are quadratures over the step.
    """

    @abc.abstractmethod
    def rate(self, process: Process, t: ScalarLike) -> Scalar:
        r"""$d\mu/dt = \frac{1}{\sigma_t^2} |d\Lambda_t/dt|$ at time `t`, at least 0."""

    @abc.abstractmethod
    def mu(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        r"""The relative noise of a step, $\int d\Lambda / \sigma^2$.

        **Arguments:**

        - `process`: whose noise it is relative to.
        - `t`, `t_next`: the two ends of the step, in either order.

        **Returns:** a scalar, at least 0.
        """

    @abc.abstractmethod
    def variance(self, process: Process, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        r"""The variance that a step injects, $\int d\Lambda = \int \sigma^2 d\mu$.

        **Arguments:** as `mu`.

        **Returns:** a scalar, at least 0.
        """


def integrate(function, t: ScalarLike, t_next: ScalarLike) -> Scalar:
    r"""$\int f\, |dt|$ over a step, by Gauss-Legendre quadrature."""
    t, t_next = both_ends(t, t_next)
    half = 0.5 * (t_next - t)
    nodes = 0.5 * (t + t_next) + half * jnp.asarray(_NODES, half.dtype)
    values = jax.vmap(function)(nodes)
    return jnp.abs(half) * jnp.sum(jnp.asarray(_WEIGHTS, half.dtype) * values)


def both_ends(t: ScalarLike, t_next: ScalarLike) -> tuple[Scalar, Scalar]:
    """Both ends of a step as arrays of one dtype: a Python float takes the other's."""
    dtype = jnp.result_type(t, t_next)
    return jnp.asarray(t, dtype), jnp.asarray(t_next, dtype)

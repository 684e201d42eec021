"""The base class of schedules: scalar functions of time with their derivatives."""

import abc
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._files import write_json
from .._types import Scalar, ScalarLike

# Gauss-Legendre quadrature on [0, 1], exact for polynomials of degree 15.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = 0.5 * (1 + _NODES), 0.5 * _WEIGHTS
#: Two evaluations of a schedule may differ by this many units of rounding.
_ROUNDING = 16


class AbstractSchedule(eqx.Module):
    """A scalar function of time, `schedule(t)`.

    A noise schedule never falls. A level schedule may rise or fall, depending on what
    the level means to the corruption: the width of a blur rises from 0, the factor of a
    scaling falls from 1.

    A subclass defines `__call__` and, if the function is strictly monotone, `inverse`.
    Its fields are its parameters: numbers, arrays or other schedules. A schedule can
    therefore be trained, and written to JSON.
    """

    @abc.abstractmethod
    def __call__(self, t: ScalarLike) -> Scalar:
        """The value at time `t`, in the dtype of `t`."""

    @abc.abstractmethod
    def inverse(self, value: ScalarLike) -> Scalar:
        """The earliest time at which the schedule takes `value`.

        **Raises:** `ValueError` for a schedule that has no inverse.
        """

    def derivative(self, t: ScalarLike) -> Scalar:
        """The derivative in time at `t`; at a kink, the one-sided derivative."""
        t = jnp.asarray(t)
        return jax.jvp(self.__call__, (t,), (jnp.ones_like(t),))[1]

    def kinks(self) -> Float[Array, " kinks"]:
        """The times at which the derivative jumps; none for a smooth schedule.

        Steps that adapt end there: no solver keeps its order across a kink.
        """
        return jnp.zeros(0, jnp.result_type(float))

    def log_ratio(self, t: ScalarLike, t_next: ScalarLike) -> Scalar:
        r"""$\log(\sigma(t) / \sigma(t'))$, accurate for short steps too.

        The difference of two logarithms that are nearly equal is mostly rounding: in
        single precision a step of 1/4000 would lose three of seven digits. So the
        default integrates $\dot\sigma / \sigma$ over the step. Where the integral is
        further from the difference than rounding explains, the step has a kink or is
        too long for the quadrature, and the difference is returned.

        Where the schedule is zero at both times, the answer is 0. Where it is zero at
        one of them, the answer is infinite.

        **Arguments:**

        - `t`, `t_next`: the two times, in either order.
        """
        t, t_next = same_dtype(t, t_next)
        value, value_next = self(t), self(t_next)
        step = t - t_next
        times = t_next + step * jnp.asarray(_NODES, t.dtype)
        values = jax.vmap(self)(times)
        # Zeros are replaced before the division, so that gradients stay finite.
        rates = jax.vmap(self.derivative)(times) / _or_one(values)
        rates = jnp.where(values > 0, rates, 0)
        integral = step * jnp.sum(jnp.asarray(_WEIGHTS, t.dtype) * rates)

        safe, safe_next = _or_one(value), _or_one(value_next)
        difference = jnp.log(safe / safe_next)
        size = jnp.maximum(jnp.abs(jnp.log(safe)), jnp.abs(jnp.log(safe_next)))
        slack = _ROUNDING * jnp.finfo(t.dtype).eps * (1 + size)
        trusted = jnp.abs(integral - difference) <= slack
        ratio = jnp.where(trusted, integral, difference)
        return with_zeros(value, value_next, ratio)

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain data, which `softsde.schedules.from_dict` reads."""
        out: dict[str, Any] = {"schedule": type(self).__name__}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            out[name] = (
                value.to_dict()
                if isinstance(value, AbstractSchedule)
                else np.asarray(value).tolist()
            )
        return out

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        """Writes the schedule as JSON, atomically. `softsde.schedules.load` reads it.

        **Arguments:**

        - `path`: of the file. Folders above it are made.
        - `provenance`: a record of how the schedule was computed, as plain data.
            `softsde.schedules.provenance` reads it.
        """
        content = self.to_dict()
        if provenance is not None:
            content["provenance"] = dict(provenance)
        write_json(path, content)


def same_dtype(t: ScalarLike, t_next: ScalarLike) -> tuple[Scalar, Scalar]:
    """Both times as arrays of one dtype."""
    dtype = jnp.result_type(t, t_next)
    return jnp.asarray(t, dtype), jnp.asarray(t_next, dtype)


def log_ratio_by_change(value: Scalar, value_next: Scalar, change: Scalar) -> Scalar:
    r"""$\log(v / v')$ from both values and an accurate `change` $= v - v'$.

    The change is divided by the smaller value, so that `log1p` gets a positive number
    and nothing cancels.
    """
    rises = change > 0
    smaller = _or_one(jnp.where(rises, value_next, value))
    ratio = jnp.log1p(jnp.abs(change) / smaller)
    return with_zeros(value, value_next, jnp.where(rises, ratio, -ratio))


def with_zeros(value: Scalar, value_next: Scalar, ratio: Scalar) -> Scalar:
    """`ratio` where both values are positive; 0 or infinite where they are not."""
    known = (value > 0) & (value_next > 0)
    limit = jnp.where(value > 0, jnp.inf, jnp.where(value_next > 0, -jnp.inf, 0.0))
    return jnp.where(known, ratio, limit.astype(ratio.dtype))


def _or_one(value: Array) -> Array:
    """`value` where it is positive, else 1."""
    return jnp.where(value > 0, value, jnp.ones_like(value))

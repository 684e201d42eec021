"""What every schedule is: a scalar function of time with its derivative."""

import abc
import os
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._types import Scalar, ScalarLike


class AbstractSchedule(eqx.Module):
    """A scalar function of time, `schedule(t)`.

    A noise schedule never falls. A level schedule may go either way, since a corruption
    says what a larger level means: the level of a blur rises from 0, the factor of a
    scaling falls from 1.

    A subclass writes `__call__` and, where the function is strictly monotone,
    `inverse`. Its fields are its parameters: numbers or arrays, so that a schedule can
    be trained, or other schedules. All of them are written to JSON.
    """

    @abc.abstractmethod
    def __call__(self, t: ScalarLike) -> Scalar:
        """The value at time `t`, in the dtype of `t`."""

    @abc.abstractmethod
    def inverse(self, value: ScalarLike) -> Scalar:
        """The earliest time at which the schedule takes `value`.

        **Raises:** `ValueError` where no such time can be told.
        """

    def derivative(self, t: ScalarLike) -> Scalar:
        """The derivative in time at `t`; at a kink, that of one side."""
        t = jnp.asarray(t)
        return jax.jvp(self.__call__, (t,), (jnp.ones_like(t),))[1]

    def to_dict(self) -> dict[str, Any]:
        """The schedule as plain data, read back by `softsde.schedules.from_dict`."""
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

        - `path`: of the file; its folder must exist.
        - `provenance`: what is to be remembered of how it came about, as plain data.
            `softsde.schedules.provenance` reads it.
        """
        from ._io import write_json

        content = self.to_dict()
        if provenance is not None:
            content["provenance"] = dict(provenance)
        write_json(path, content)

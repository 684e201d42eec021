"""Times and divisors, as the parametrisations share them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import concrete
from .._types import Sample, Scalar, ScalarLike


def time_like(t: ScalarLike, x: Sample) -> Scalar:
    """`t` in the dtype of `x`."""
    return jnp.asarray(t, x.dtype)


def require_nonzero(what: str, name: str, divisor: Any) -> None:
    """Refuses a known divisor of zero; a traced one gives what division gives."""
    known = concrete(divisor)
    if known is not None and not np.all(known != 0):
        raise ValueError(
            f"{what} divides by {name}, which is zero: nothing of the clean sample is "
            "left there to read it from. End the process earlier (`t1`), or let the "
            "network predict `Clean`, `Residual` or `Velocity`."
        )

"""The value of a condition that says nothing."""

import jax
import jax.numpy as jnp

from .._types import Condition


def unconditional(condition: Condition) -> Condition:
    """A condition of the same structure that says nothing.

    Integers (labels) become -1, floating-point numbers (vectors) become 0. The networks
    of [`softsde.nn`](nn.md) read these values as no condition; a network of your own
    that is trained with `drop_condition` or guided should do the same.

    **Arguments:**

    - `condition`: a PyTree of arrays.

    **Returns:** a PyTree of arrays of the same shapes and dtypes.

    **Raises:** `TypeError` for truth values and unsigned integers, which have no -1.
    """

    def nothing(leaf):
        leaf = jnp.asarray(leaf)
        inexact = jnp.issubdtype(leaf.dtype, jnp.inexact)
        if not (inexact or jnp.issubdtype(leaf.dtype, jnp.signedinteger)):
            raise TypeError(
                f"A condition of {leaf.dtype} has no value that says nothing; expected "
                "signed integers (labels, -1 for none) or floating-point numbers "
                "(vectors, 0 for none). Use `condition.astype('int32')`."
            )
        empty = 0 if inexact else -1
        return jnp.full(leaf.shape, empty, leaf.dtype)

    return jax.tree.map(nothing, condition)

"""Arrays that no optimiser sees: kept as bit patterns.

`eqx.is_inexact_array` is how a training loop, the library's or a user's, finds what to
train. Floating-point numbers that are kept as unsigned integers are not found: they get
no gradient, no weight decay and no moving average, and still are ordinary leaves, which
are sharded, saved and passed to compiled functions like any other.
"""

from typing import Any, Generic, TypeVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

_UNSIGNED: dict[int, Any] = {1: jnp.uint8, 2: jnp.uint16, 4: jnp.uint32, 8: jnp.uint64}


class _Bits(eqx.Module):
    """One array of floating-point numbers, kept as unsigned integers."""

    bits: jax.Array
    dtype: str = eqx.field(static=True)


class Fixed(eqx.Module, Generic[T]):
    """A tree whose floating-point arrays are kept as bit patterns.

    `Fixed(tree).get()` is equal to `tree`, to the last bit.
    """

    _tree: Any

    def __init__(self, tree: T):
        self._tree = jax.tree.map(_hide, tree)

    def get(self) -> T:
        """The tree itself. No derivative reaches what was fixed."""
        # Evaluated at once where the bits are known, also while something else is
        # traced: a check on a fixed schedule must see its numbers.
        with jax.ensure_compile_time_eval():
            return jax.tree.map(_show, self._tree, is_leaf=_is_bits)


def _is_bits(leaf: Any) -> bool:
    return isinstance(leaf, _Bits)


def _hide(leaf: Any) -> Any:
    if not eqx.is_inexact_array(leaf):
        return leaf
    if np.issubdtype(leaf.dtype, np.complexfloating):
        raise TypeError(
            "Complex arrays cannot be fixed. Keep the real and the imaginary part as "
            "two real arrays."
        )
    leaf = jax.lax.stop_gradient(jnp.asarray(leaf))
    unsigned = _UNSIGNED[leaf.dtype.itemsize]
    return _Bits(jax.lax.bitcast_convert_type(leaf, unsigned), str(leaf.dtype))


def _show(leaf: Any) -> Any:
    if not _is_bits(leaf):
        return leaf
    return jax.lax.bitcast_convert_type(leaf.bits, jnp.dtype(leaf.dtype))

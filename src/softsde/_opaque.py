"""Functions whose weights cannot be seen, so that no compiled program may be kept."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree


class Opaque(eqx.Module):
    """A callable that is no PyTree: a function, a method, an object.

    What it reads (a global, a cell, an attribute) may change between two calls, and
    nothing can tell. So a program compiled with it serves one call of `sample` and is
    then thrown away: present weights always count.
    """

    function: Callable[..., Any] = eqx.field(static=True)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)


def as_module(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` itself if it is a PyTree, whose arrays can be seen; else `Opaque`."""
    # A function, a method or a plain object is a leaf; a module is a tree.
    return Opaque(function) if jax.tree_util.all_leaves([function]) else function


def has_opaque(tree: PyTree) -> bool:
    """Tells whether some callable in `tree` may read what changes."""
    leaves = jax.tree.leaves(tree, is_leaf=lambda node: isinstance(node, Opaque))
    return any(isinstance(leaf, Opaque) for leaf in leaves)

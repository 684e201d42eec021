"""Trees of arrays as tables that can be compared, and the differences in words."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """The leaves of a tree under their paths, such as `.model.layers[0].weight`."""
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    }


def describe(leaves: Mapping[str, Any]) -> dict[str, str]:
    """The type and shape of each array among named leaves: `"float32[3,3,16]"`."""
    return {
        name: f"{x.dtype}[{','.join(map(str, x.shape))}]"
        for name, x in leaves.items()
        if isinstance(x, jax.Array | np.ndarray | jax.ShapeDtypeStruct)
    }


def differences(
    left: Mapping[str, Any],
    right: Mapping[str, Any],
    left_name: str,
    right_name: str,
    *,
    most: int = 20,
) -> str:
    """One line for each key under which the two tables differ; empty if they agree."""
    absent = "absent"
    lines = [
        f"  {key}: {left.get(key, absent)} {left_name}, "
        f"{right.get(key, absent)} {right_name}"
        for key in sorted(left.keys() | right.keys())
        if (key in left, left.get(key)) != (key in right, right.get(key))
    ]
    if len(lines) > most:
        lines = [*lines[:most], f"  ... and {len(lines) - most} more"]
    return "\n".join(lines)

"""Trees of arrays, and configurations, as tables that can be compared and explained."""

import dataclasses
import enum
import json
import os
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


def flatten_config(config: Any, prefix: str = "") -> dict[str, Any]:
    """A nested configuration as `{"network.width": 64, ...}`."""
    if not isinstance(config, dict) or not config:
        return {prefix: config}
    table: dict[str, Any] = {}
    for key, value in config.items():
        table |= flatten_config(value, f"{prefix}.{key}" if prefix else str(key))
    return table


def plain_config(config: Any) -> Any:
    """A configuration as it looks after a round trip through JSON.

    Dataclasses become dictionaries and tuples lists, so that what was saved can be
    compared with what is asked for.
    """
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        config = dataclasses.asdict(config)
    try:
        return json.loads(json.dumps(config, default=_plain))
    except TypeError as e:
        raise TypeError(
            f"`config` must be a dataclass or a dictionary that JSON can hold: {e}. "
            "Give numbers, strings, lists, dictionaries, None."
        ) from e


def _plain(x: Any) -> Any:
    if dataclasses.is_dataclass(x) and not isinstance(x, type):
        return dataclasses.asdict(x)
    if isinstance(x, jax.Array | np.ndarray | np.generic):
        return np.asarray(x).tolist()
    if isinstance(x, enum.Enum):
        return x.name
    if isinstance(x, os.PathLike):
        return os.fspath(x)
    raise TypeError(f"got a {type(x).__name__} ({x!r})")

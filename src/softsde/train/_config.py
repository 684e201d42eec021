"""Configurations as plain data, and as tables that can be compared."""

import dataclasses
import enum
import json
import os
from typing import Any

import jax
import numpy as np


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

    Dataclasses become dictionaries and tuples become lists, so that a saved
    configuration can be compared with a new one.
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

"""Schedules as JSON: what an experiment keeps is a file a person can read."""

import json
import os
import pathlib
import tempfile
from typing import Any

from ._base import AbstractSchedule
from ._bounded_cosine_vp import BoundedCosineVP, BoundedCosineVPSignal
from ._constant import Constant
from ._cosine import Cosine
from ._cosine_vp import CosineVP, CosineVPSignal
from ._edm import EDM
from ._geometric import Geometric
from ._linear import Linear
from ._piecewise_linear import PiecewiseLinear
from ._sigmoid import Sigmoid
from ._softmax_warp import SoftmaxWarp
from ._time_warp import TimeWarp
from ._two_phase import TwoPhase
from ._vp import VP, SubVP, VPSignal

_SCHEDULES: dict[str, type[AbstractSchedule]] = {
    cls.__name__: cls
    for cls in (
        BoundedCosineVP,
        BoundedCosineVPSignal,
        Constant,
        Cosine,
        CosineVP,
        CosineVPSignal,
        EDM,
        Geometric,
        Linear,
        PiecewiseLinear,
        Sigmoid,
        SoftmaxWarp,
        SubVP,
        TimeWarp,
        TwoPhase,
        VP,
        VPSignal,
    )
}


def write_json(path: str | os.PathLike[str], content: dict[str, Any]) -> None:
    """Writes `content` whole or not at all."""
    path = pathlib.Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(content, file, indent=1)
            file.write("\n")
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def from_dict(content: dict[str, Any]) -> AbstractSchedule:
    """The schedule that `schedule.to_dict()` described.

    **Arguments:**

    - `content`: a `"schedule"` entry that names the class, and its parameters.

    **Raises:** `ValueError` for an unknown class or unknown or missing parameters.
    """
    known = ", ".join(_SCHEDULES)
    name = content.get("schedule")
    if not isinstance(name, str) or name not in _SCHEDULES:
        raise ValueError(
            f"A schedule file names its class under 'schedule', one of: {known}. "
            f"Got {name!r}."
        )
    cls = _SCHEDULES[name]
    parameters = {
        name: from_dict(value) if isinstance(value, dict) else value
        for name, value in content.items()
        if name != "schedule"
    }
    expected = set(cls.__dataclass_fields__)
    if set(parameters) != expected:
        raise ValueError(
            f"`{name}` has the parameters {sorted(expected)}, got {sorted(parameters)}."
        )
    return cls(**parameters)


def load(path: str | os.PathLike[str]) -> AbstractSchedule:
    """Reads a schedule written by `schedule.save(path)`.

    **Arguments:**

    - `path`: of the JSON file.

    **Raises:** `ValueError` when the file holds no schedule, naming the file.
    """
    try:
        content = _read(path)
        content.pop("provenance", None)
        return from_dict(content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a schedule: {error}") from error


def provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the file of a schedule says of how it came about; empty where nothing.

    **Arguments:**

    - `path`: of the JSON file, or the name of one that comes with the package, as in
        [`softsde.schedules.shipped`][].

    **Raises:** `ValueError` when the file holds no JSON object; `FileNotFoundError`.

    !!! example

        ```python
        ss.schedules.provenance("digits_blur")["images"]  # 1500
        ```
    """
    from ._shipped import path_of, shipped_names

    if str(path) in shipped_names():
        path = path_of(str(path))
    try:
        return _read(path).get("provenance", {})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a schedule: {error}") from error


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    content = json.loads(pathlib.Path(path).read_text())
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}.")
    return content

"""Schedules as JSON files, which a person can read."""

import json
import os
import pathlib
from typing import Any

from ._base import AbstractSchedule
from ._bounded_cosine_vp import BoundedCosineVP, BoundedCosineVPSignal
from ._constant import Constant
from ._cosine import Cosine
from ._cosine_vp import CosineVP, CosineVPSignal
from ._discrete_vp import DiscreteVP, DiscreteVPSignal
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
        DiscreteVP,
        DiscreteVPSignal,
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


def from_dict(content: dict[str, Any]) -> AbstractSchedule:
    """Builds the schedule that `schedule.to_dict()` describes.

    **Arguments:**

    - `content`: the name of the class under `"schedule"`, and its parameters.

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

    **Raises:** `ValueError` for a file that holds no schedule.
    """
    try:
        content = _read(path)
        content.pop("provenance", None)
        return from_dict(content)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a schedule: {error}") from error


def provenance(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads how the schedule in a file was computed; empty if the file does not say.

    [`softsde.fitting.provenance`][] does the same for a schedule that comes with the
    package.

    **Arguments:**

    - `path`: of the JSON file.

    **Raises:** `ValueError` for a file that holds no JSON object; `FileNotFoundError`.
    """
    try:
        return _read(path).get("provenance", {})
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} does not hold a schedule: {error}") from error


def _read(path: str | os.PathLike[str]) -> dict[str, Any]:
    content = json.loads(pathlib.Path(path).read_text())
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got {type(content).__name__}.")
    return content

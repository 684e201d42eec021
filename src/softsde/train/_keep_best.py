"""Keeps the best checkpoints, by scores that are known after they were written."""

import contextlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orbax.checkpoint import checkpoint_managers as policies

from .._files import write_json
from ._hosts import is_first_host


class Scores:
    """The scores of checkpoints, in a file beside them.

    **Arguments:**

    - `folder`: the folder of the checkpoints.
    """

    def __init__(self, folder: Path):
        self._path = folder / ".scores.json"
        self._scores: dict[int, float] = {}
        with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
            content = json.loads(self._path.read_text())
            self._scores = {int(step): float(s) for step, s in content.items()}

    def all(self) -> dict[int, float]:
        """The score of each step that has one."""
        return dict(self._scores)

    def set(self, step: int, score: float) -> None:
        """Note the score of a step; one that is not a number counts as the worst."""
        self._scores[step] = math.inf if math.isnan(score) else score
        if is_first_host():
            finite = {k: v for k, v in self._scores.items() if math.isfinite(v)}
            write_json(self._path, {str(k): v for k, v in sorted(finite.items())})


class KeepBest(policies.PreservationPolicy):
    """Preserves the checkpoints with the smallest scores.

    **Arguments:**

    - `scores`: the scores.
    - `number`: how many checkpoints to preserve.
    """

    def __init__(self, scores: Scores, number: int):
        self._scores, self._number = scores, number

    def should_preserve(
        self, checkpoints: Sequence[Any], *, context: Any
    ) -> Sequence[bool]:
        """For each checkpoint, whether it is among the best."""
        scores = self._scores.all()
        steps = [c.step for c in checkpoints if c.step in scores]
        best = sorted(steps, key=lambda step: scores[step])[: self._number]
        return [c.step in best for c in checkpoints]

"""All files with the curves of a run."""

from pathlib import Path
from typing import Any

from ._events import Events
from ._metrics import MetricsLog


class Logs:
    """The curves of a run: `metrics.jsonl`, `evaluations.jsonl`, event files.

    **Arguments:**

    - `folder`: the folder of the run, or `None` to write nothing.
    - `step`: the step from which training goes on; later lines are dropped.
    - `tensorboard`: whether to write event files.
    """

    def __init__(self, folder: Path | None, step: int, *, tensorboard: bool):
        self._folder, self._tensorboard = folder, tensorboard
        self._open(step)

    def _open(self, step: int) -> None:
        folder = self._folder
        # First, because it fails if its package is missing.
        self._events = Events(
            folder / "tensorboard" if folder and self._tensorboard else None, step=step
        )
        self._metrics = MetricsLog(folder and folder / "metrics.jsonl", step=step)
        # Opened only when needed: few runs evaluate.
        self._evaluations: MetricsLog | None = None
        if folder is not None and (folder / "evaluations.jsonl").exists():
            # The calls at `step` are made again if they may not have been made.
            self._evaluations = MetricsLog(folder / "evaluations.jsonl", step=step)
        self._step = step

    def metrics(self, step: int, values: dict[str, float]) -> None:
        """Write a line of metrics."""
        self._metrics.write(step, values)
        self._events.write(step, values)

    def evaluations(self, step: int, values: dict[str, float]) -> None:
        """Write a line of what the callbacks returned, if they returned any."""
        if not values or self._folder is None:
            return
        if self._evaluations is None or step == self._step:
            if self._evaluations is not None:
                self._evaluations.close()
            # A call that is repeated replaces its line.
            path = self._folder / "evaluations.jsonl"
            self._evaluations = MetricsLog(path, step=step - 1)
        self._evaluations.write(step, values)
        self._events.write(step, values)

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        self._metrics.sync()
        if self._evaluations is not None:
            self._evaluations.sync()

    def rewind(self, step: int) -> None:
        """Drop the lines after `step`."""
        self.close()
        self._open(step)

    def close(self) -> None:
        """Close all files."""
        self._metrics.close()
        if self._evaluations is not None:
            self._evaluations.close()
        self._events.close()

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

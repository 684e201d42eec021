"""The metrics as JSON lines: one line for each logged step, also after a crash."""

import json
import math
import os
from pathlib import Path
from typing import Any

from .._files import write_text


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a metrics file, without one that a crash has cut short.

    **Arguments:**

    - `path`: a `metrics.jsonl`.

    **Returns:**

    A list of dictionaries, each with a `"step"`, in the order of the file.

    !!! Example

        ```{ .python .no-run }
        rows = ss.train.read_metrics("runs/blur/metrics.jsonl")
        plt.plot([r["step"] for r in rows], [r["loss"] for r in rows])
        ```
    """
    rows = []
    for line in Path(path).read_bytes().splitlines():
        try:
            row = json.loads(line)
            rows.append(row | {"step": int(row["step"])})
        except (ValueError, TypeError, KeyError):
            continue
    return rows


class MetricsLog:
    """Appends one line of JSON for each logged step.

    When it is opened at step `n` it first drops every line after `n`, and any line that
    is half written, because these steps will be made again. Floats are written with all
    of their digits, so equal values give equal bytes.

    **Arguments:**

    - `path`: the file, which is made if absent. `None` writes nothing.
    - `step`: the step from which training goes on.

    !!! Example

        ```python
        with ss.train.MetricsLog("metrics.jsonl", step=0) as log:
            log.write(50, {"loss": 0.1})
        ```
    """

    def __init__(self, path: str | os.PathLike | None, *, step: int = 0):
        self._file = None
        if path is None:
            return
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            rows = [row for row in read_metrics(path) if row["step"] <= step]
            write_text(path, "".join(map(_line, rows)))
        self._file = open(path, "a", encoding="utf-8")

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append a line, and pass it to the operating system."""
        if self._file is not None:
            self._file.write(_line({"step": step} | values))
            self._file.flush()

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file; leaving the `with` block does so too."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _line(row: dict[str, Any]) -> str:
    # JSON has no NaN, so a metric that is not a finite number is written as `null`.
    plain = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in row.items()
    }
    return json.dumps(plain) + "\n"

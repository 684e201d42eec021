"""The loss curve as JSON lines: each logged step once, whatever happens."""

import json
import math
import os
from pathlib import Path
from typing import Any


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """The lines of a metrics file; one that was cut short by a crash is left out.

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
    """Appends one line of JSON a logged step.

    Opened at step `n` it first drops every line past `n`, and any half-written one:
    these steps are about to be done again. Equal values give equal bytes, for a float
    is written with all its digits.

    **Arguments:**

    - `path`: the file; made if absent. `None` writes nothing.
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
            partial = path.with_name(path.name + ".partial")
            partial.write_text("".join(map(_line, rows)))
            os.replace(partial, path)
        self._file = open(path, "a")

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append a line; it is with the operating system when this returns."""
        if self._file is not None:
            self._file.write(_line({"step": step} | values))
            self._file.flush()

    def sync(self) -> None:
        """Wait until all lines are on the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file; leaving the `with` block does so too."""
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, *_) -> None:
        self.close()


def _line(row: dict[str, Any]) -> str:
    # JSON knows no NaN; a metric that is not a number is `null`.
    plain = {
        k: None if isinstance(v, float) and not math.isfinite(v) else v
        for k, v in row.items()
    }
    return json.dumps(plain) + "\n"

"""Measures the share of a run's wall time that went into training steps."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._files import write_json

#: What a run can be busy with. `lost` is the time of steps that were made again after a
#: restart or a rollback, `down` the time between two sessions.
KINDS = (
    "stepping",
    "compiling",
    "data",
    "checkpoint",
    "callbacks",
    "restoring",
    "lost",
    "down",
    "other",
)

# Writing waits for the disk: not after every line of metrics.
_SECONDS = 10.0


class Goodput:
    r"""Adds up the seconds of a run by what they were spent on, over all sessions.

    $$\text{goodput} = \frac{\text{seconds stepping}}{\text{all seconds}}$$

    The file is written with every checkpoint, and every ten seconds in between. A
    session that starts from a checkpoint takes the time since that checkpoint off
    `stepping` and counts it as `lost`.

    **Arguments:**

    - `path`: the file, or `None` to write nothing.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._seconds: dict[str, float] = dict.fromkeys(KINDS, 0.0)
        self._images = 0
        self._since = time.monotonic()
        self._written = self._since
        self._inside = False

    def resume(self, saved: dict[str, Any] | None) -> None:
        """Go on from the file and from what the restored checkpoint says.

        **Arguments:**

        - `saved`: `state()` as it was when the checkpoint was written.
        """
        saved = saved or {}
        before, at = saved.get("seconds", {}), None
        self._images = saved.get("images", 0)
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            if self._path is not None:
                content = json.loads(self._path.read_text())
                written = {k: float(content["seconds"].get(k, 0.0)) for k in KINDS}
                at = float(content["written_at"])
                lost = max(0.0, written["stepping"] - before.get("stepping", 0.0))
                written["stepping"] -= lost
                written["lost"] += lost
                before = written
        for kind in KINDS:
            self._seconds[kind] += before.get(kind, 0.0)
        if at is not None:
            session = time.monotonic() - self._since
            self._seconds["down"] += max(0.0, time.time() - at - session)

    def roll_back(self, saved: dict[str, Any] | None) -> None:
        """Count the steps since a checkpoint of this session as lost."""
        saved = saved or {}
        before = saved.get("seconds", {}).get("stepping", 0.0)
        lost = max(0.0, self._seconds["stepping"] - before)
        self._seconds["stepping"] -= lost
        self._seconds["lost"] += lost
        self._images = saved.get("images", self._images)

    @contextlib.contextmanager
    def doing(self, kind: str) -> Iterator[None]:
        """Count the time of the block as `kind`; a block inside another counts once."""
        if self._inside:
            yield
            return
        self._other()
        self._inside = True
        try:
            yield
        finally:
            self._inside = False
            now = time.monotonic()
            self._seconds[kind] += now - self._since
            self._since = now

    def add_images(self, number: int) -> None:
        """Count images that were trained on."""
        self._images += number

    def _other(self) -> None:
        now = time.monotonic()
        self._seconds["other"] += now - self._since
        self._since = now

    def state(self) -> dict[str, Any]:
        """The numbers that a checkpoint keeps for `resume`."""
        return {"seconds": dict(self._seconds), "images": self._images}

    def report(self) -> dict[str, Any]:
        """Seconds by kind, their sum, the goodput, and images a second of stepping."""
        total = sum(self._seconds.values())
        stepping = self._seconds["stepping"]
        return {
            "goodput": stepping / total if total else 0.0,
            "total_seconds": total,
            "seconds": dict(self._seconds),
            "images": self._images,
            "images_per_second": self._images / stepping if stepping else 0.0,
        }

    def write(self) -> None:
        """Replace the file."""
        self._written = time.monotonic()
        if self._path is not None:
            write_json(self._path, self.report() | {"written_at": time.time()})

    def write_sometimes(self) -> None:
        """Replace the file if it is ten seconds old."""
        if time.monotonic() - self._written > _SECONDS:
            self.write()

    def line(self) -> str:
        """The report in one line."""
        report = self.report()
        total = report["total_seconds"] or 1.0
        parts = ", ".join(
            f"{kind} {seconds / total:.1%}"
            for kind, seconds in report["seconds"].items()
            if seconds >= 0.0005 * total
        )
        return (
            f"goodput {report['goodput']:.1%} of {total:.0f} s ({parts}); "
            f"{report['images_per_second']:.0f} images/s while stepping"
        )


def read_goodput(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """The goodput report of a run.

    **Arguments:**

    - `folder`: the folder of the run, which holds `goodput.json`.

    **Returns:**

    A dictionary: `"goodput"`, the share of the wall time spent in training steps;
    `"total_seconds"`; `"seconds"`, by what they were spent on; `"images"` and
    `"images_per_second"`.

    **Raises:** `FileNotFoundError` if the folder holds no report.

    !!! Example

        ```{ .python .no-run }
        ss.train.read_goodput("runs/blur")["goodput"]  # 0.97
        ```
    """
    path = Path(folder) / "goodput.json"
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}. `softsde.train.fit` writes it into the folder of a "
            "run with the first checkpoint."
        )
    return json.loads(path.read_text())

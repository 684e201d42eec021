"""The metrics as event files of TensorBoard."""

from pathlib import Path
from typing import Any


class Events:
    """Writes scalars to `folder`, for `tensorboard --logdir`.

    TensorBoard hides the values after `step` that an earlier session wrote.

    **Arguments:**

    - `folder`: the folder of the event files; `None` writes nothing.
    - `step`: the step from which training goes on.

    **Raises:** `ImportError` if tensorboardX is not installed.
    """

    def __init__(self, folder: Path | None, *, step: int = 0):
        self._writer: Any = None
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter  # pyright: ignore[reportMissingImports]
        except ImportError as error:
            raise ImportError(
                "Event files of TensorBoard need tensorboardX: `pip install "
                "'softsde[tensorboard]'`. Without `tensorboard=True` the metrics are "
                "written to metrics.jsonl only."
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add one value to each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write everything to the disk."""
        if self._writer is not None:
            self._writer.close()

"""Functions that are called every so many steps, at least once for each such step."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._files import write_text
from ._hosts import agree, is_first_host
from ._state import TrainState


class Callbacks:
    """Calls functions at their steps, and remembers for which checkpoints it has.

    A session may end between a checkpoint and the calls that are due at its step:
    because a callback raised, or because the process was killed. The next session
    starts from that checkpoint and makes these calls first.

    **Arguments:**

    - `pairs`: `(every, function)`; `function(state, step)` is called after each
        `every`-th step.
    - `folder`: the folder of the checkpoints.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[int, Callable[[TrainState, int], Any]]],
        folder: Path,
    ):
        for every, _ in pairs:
            if every < 1:
                raise ValueError(
                    "`callbacks` are pairs `(every, function)` with `every` at least "
                    f"1, got {every}."
                )
        self._pairs = tuple(pairs)
        # The last step whose checkpoint was written and whose calls were all made.
        self._mark = folder / ".callbacks"

    def are_due(self, n: int) -> bool:
        """Tells whether any function is called after step `n`."""
        return any(n % every == 0 for every, _ in self._pairs)

    @property
    def intervals(self) -> list[int]:
        """The number of steps between two calls of each function."""
        return [every for every, _ in self._pairs]

    def call(self, state: TrainState, n: int) -> dict[str, float]:
        """Call the functions that are due at step `n`; the numbers that they return."""
        found: dict[str, float] = {}
        for every, function in self._pairs:
            if n % every == 0:
                returned = function(state, n)
                if isinstance(returned, dict):
                    found |= {name: float(value) for name, value in returned.items()}
        return found

    def mark(self, n: int) -> None:
        """Note that the calls due at the checkpoint of step `n` are made."""
        if is_first_host():
            write_text(self._mark, f"{n}\n")

    def are_pending(self, n: int) -> bool:
        """Tells whether calls due at the checkpoint of step `n` may be missing."""
        if not self.are_due(n):
            return False
        (pending,) = agree(is_first_host() and self._marked() < n)
        return pending

    def _marked(self) -> int:
        try:
            return int(self._mark.read_text())
        except (OSError, ValueError):
            return -1

    def forget(self) -> None:
        """Drop the mark of an earlier run in the same folder."""
        if is_first_host():
            self._mark.unlink(missing_ok=True)

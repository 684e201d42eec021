"""SIGINT and SIGTERM as a flag that the loop reads between two steps."""

import signal
import threading
from typing import Any

from ._state import TrainState


class Interrupted(SystemExit):
    """A signal asked training to stop, and a checkpoint was written first.

    This is a `SystemExit` with the customary code `128 + signal`: a script that does
    not catch it ends without a traceback, and a job queue sees that the work is not
    done.

    - `message`: what was saved, and how to go on.
    - `state`: the state that was saved.
    - `step`: its step.
    """

    def __init__(self, message: str, state: TrainState, step: int, signal_number: int):
        super().__init__(128 + signal_number)
        self.message = message
        self.state = state
        self.step = step


class Signals:
    """Notes SIGINT and SIGTERM while it is open; the second one acts as it did before.

    `received` is the number of the signal, or 0.
    """

    def __init__(self):
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Signals":
        # Python delivers signals to the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                # `None` is a handler that was not set from Python.
                before = signal.signal(number, self._note) or signal.SIG_DFL
                self._before[number] = before
        return self

    def _note(self, number, frame) -> None:
        self.received = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    def __exit__(self, *_: Any) -> None:
        self._restore()

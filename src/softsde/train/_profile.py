"""A trace of some steps by JAX's profiler."""

from pathlib import Path

import jax

# The first steps of a session compile and fill the pipelines.
_SKIPPED = 3


class Profile:
    """Traces `steps` steps, a few steps after the start of a session.

    The trace can be opened with TensorBoard's profile plugin, with Perfetto or with
    XProf.

    **Arguments:**

    - `folder`: where to write the trace.
    - `steps`: how many steps to trace; `None` for no trace.
    """

    def __init__(self, folder: Path, steps: int | None):
        self._folder = folder
        self._left = steps or 0
        self._wait = _SKIPPED
        self._on = False

    def before(self) -> None:
        """Start the trace, if it is time."""
        if self._left > 0 and self._wait == 0 and not self._on:
            self._folder.mkdir(parents=True, exist_ok=True)
            jax.profiler.start_trace(str(self._folder))
            self._on = True

    def after(self, steps: int, metrics: dict) -> None:
        """Count steps that were made; stop the trace after the last of them."""
        if not self._on:
            self._wait = max(0, self._wait - steps)
            return
        self._left -= steps
        if self._left <= 0:
            jax.block_until_ready(metrics)
            self.close()

    def close(self) -> None:
        """Stop a trace that is on."""
        if self._on:
            jax.profiler.stop_trace()
            self._on, self._left = False, 0

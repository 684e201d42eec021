"""Averages the metrics over the steps between two lines, and checks every loss."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ._checkpoint import Checkpointer


class NonFiniteError(FloatingPointError):
    """The loss or its gradient was infinite or not a number.

    - `step`: the step at which this was.
    - `last_good_step`: the step of the newest checkpoint, written before, or `None`.
    - `found`: what was found, in a sentence.
    """

    def __init__(
        self, message: str, step: int, last_good_step: int | None, found: str = ""
    ):
        super().__init__(message)
        self.step = step
        self.found = found
        self.last_good_step = last_good_step


class Meter:
    """Takes metrics off the device some steps late, and adds them up.

    Its sums are part of a checkpoint. So a line that is the mean over steps before and
    after a resumption is the same to the last bit.
    """

    def __init__(self, log_every: int, state: dict[str, Any] | None = None):
        self._log_every = log_every
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._count: int = state["count"] if state else 0
        self._pending: deque[tuple[int, int, dict]] = deque()
        self.loss: float | None = None

    def state(self) -> dict[str, Any]:
        """The sums, from which `Meter(log_every, state)` goes on."""
        assert not self._pending
        return {"sums": self._sums, "count": self._count}

    def push(self, n: int, count: int, metrics: dict) -> None:
        """Take in the metrics of the `count` steps up to `n`, computed or not yet.

        For more than one step they are stacked.
        """
        for value in metrics.values():
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        self._pending.append((n, count, metrics))

    def pull(
        self,
        write: Callable[[int, dict[str, float]], None],
        checkpoints: Checkpointer,
        *,
        lag: int,
    ) -> None:
        """Read all metrics but those of the last `lag` pushes; write the lines due."""
        while len(self._pending) > lag:
            last, count, metrics = self._pending.popleft()
            columns = {k: np.reshape(np.asarray(v), -1) for k, v in metrics.items()}
            for i in range(count):
                n = last - count + 1 + i
                values = {k: float(column[i]) for k, column in columns.items()}
                self._add(n, values, checkpoints)
                if n % self._log_every == 0:
                    write(n, self._means())

    def _add(self, n: int, values: dict, checkpoints: Checkpointer) -> None:
        vital = (values.get(name, 0.0) for name in ("loss", "grad_norm"))
        if not all(map(math.isfinite, vital)):
            raise _non_finite(n, values, checkpoints)
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1

    def _means(self) -> dict[str, float]:
        """The means since the line before; the next line starts anew."""
        means = {name: sum_ / self._count for name, sum_ in self._sums.items()}
        self.loss = means.get("loss")
        self._sums, self._count = {}, 0
        return means


def _non_finite(n: int, values: dict, checkpoints: Checkpointer) -> NonFiniteError:
    checkpoints.wait()
    last = checkpoints.latest_step()
    kept = (
        "No checkpoint had been written yet."
        if last is None
        else f"The last good checkpoint, step {last} in {checkpoints.folder}, is kept."
    )
    found = ", ".join(
        f"{k} = {values[k]}" for k in ("loss", "grad_norm") if k in values
    )
    found = f"Not a finite number at step {n}: {found}."
    return NonFiniteError(
        f"{found} {kept} The same step fails again "
        "when you resume. Use a smaller learning rate, a longer warm-up, or a loss "
        "weight that stays finite where the noise level vanishes. "
        "`jax.config.update('jax_debug_nans', True)` finds the operation.",
        n,
        last,
        found,
    )

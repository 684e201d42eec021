"""The progress bar of a training run."""

import sys
import threading
import time
from typing import Any

import jax
from tqdm.auto import tqdm

from ._mesh import batch_size

# Seconds between two signs of life before the first step.
_SIGN_OF_LIFE = 8.0


class Bar:
    """Shows the step, the loss and the images a second.

    On a terminal it is redrawn twice a second; in a log file it adds a line every ten
    seconds. It also shows the time while the first step compiles, and this time does
    not count in the speed.
    """

    def __init__(self, start: int, total: int, *, shown: bool):
        self._bar = tqdm(
            desc="compiling" if start < total else "finished",
            initial=start,
            total=total,
            disable=not shown,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 10.0,
            maxinterval=60.0,
        )
        self._started = threading.Event()
        self._waiting = threading.Thread(target=self._wait, daemon=True)
        if shown:
            self._waiting.start()
        self._images, self._speed = 0, ""
        self._since = time.monotonic()

    def _wait(self) -> None:
        while not self._started.wait(_SIGN_OF_LIFE):
            self._bar.refresh()

    def say(self, message: str) -> None:
        """Write a line above the bar."""
        if not self._bar.disable:
            self._bar.write(message, file=sys.stderr)

    def advance(self, batch: Any, count: int, loss: float | None) -> int:
        """Count `count` steps on `batch`; `loss` is that of the last line of metrics.

        **Returns:** the number of images of these steps.
        """
        images = count * batch_size(batch, axis=int(count > 1)) * jax.process_count()
        if self._bar.disable:
            return images
        if not self._started.is_set():
            self._started.set()
            self._bar.unpause()
            self._since = time.monotonic()
        self._bar.set_description("training", refresh=False)
        self._images += images
        elapsed = time.monotonic() - self._since
        if elapsed > 2.0:
            self._speed = f"{self._images / elapsed:.0f}"
            self._images, self._since = 0, time.monotonic()
        postfix = {"loss": f"{loss:.4g}"} if loss is not None else {}
        if self._speed:
            postfix["images/s"] = self._speed
        self._bar.set_postfix(postfix, refresh=False)
        self._bar.update(count)
        return images

    def rewind(self, step: int) -> None:
        """Go back to an earlier step."""
        self._bar.n = step
        self._bar.refresh()

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: Any) -> None:
        self._started.set()
        if self._waiting.is_alive():
            self._waiting.join()
        self._bar.close()

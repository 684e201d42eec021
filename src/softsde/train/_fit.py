"""The loop around the step: data, metrics, checkpoints, interruptions."""

import dataclasses
import math
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
from jax.experimental import multihost_utils
from tqdm.auto import tqdm

from ._checkpoint import CheckpointableIterator, Checkpointer
from ._mesh import batch_size
from ._metrics import MetricsLog
from ._state import TrainState

# Metrics are read this many steps late: the device always has work.
_LAG = 2


class NonFiniteError(FloatingPointError):
    """The loss or its gradient was infinite or not a number.

    `.step` is the step at which, `.last_good_step` the newest checkpoint, from before,
    or `None`.
    """

    def __init__(self, message: str, step: int, last_good_step: int | None):
        super().__init__(message)
        self.step = step
        self.last_good_step = last_good_step


class Interrupted(SystemExit):
    """Training was asked to stop by a signal; a checkpoint was written first.

    A `SystemExit` with the customary code `128 + signal`, so that a script that does
    not catch it ends quietly, and a queue does not take it for done.
    """

    def __init__(self, message: str, state: TrainState, step: int, signal_number: int):
        super().__init__(128 + signal_number)
        self.message = message
        self.state = state
        self.step = step


@dataclasses.dataclass(frozen=True)
class FitResult:
    """What [`softsde.train.fit`][] leaves behind.

    - `state`: the state after the last step.
    - `step`: how many steps it has seen.
    - `reason`: `"finished"`, or `"out of time"` if `max_seconds` came first.
    - `seconds`: the time spent in training, over all sessions of the run.
    """

    state: TrainState
    step: int
    reason: Literal["finished", "out of time"]
    seconds: float


def fit(
    state: TrainState,
    data: Iterable[Any],
    step: Callable[[TrainState, Any], tuple[TrainState, dict]],
    *,
    num_steps: int,
    folder: str | os.PathLike,
    config: Any = None,
    checkpoint_every: int | None = 1000,
    checkpoint_seconds: float | int | None = None,
    keep: int = 2,
    keep_every: int | None = None,
    log_every: int = 50,
    callbacks: Sequence[tuple[int, Callable[[TrainState, int], Any]]] = (),
    max_seconds: float | int | None = None,
    progress: bool = True,
) -> FitResult:
    """Train until `num_steps`, from wherever the folder says that training stands.

    Call it again after a crash, a kill or an interruption, with the same arguments, and
    it goes on: the parameters and `metrics.jsonl` end up bit for bit as if nothing had
    happened. A last checkpoint is always written.

    **Arguments:**

    - `state`: where to start if the folder holds no checkpoint. It is consumed.
    - `data`: an iterator (or what `iter` makes one of) with `get_state` and
        `set_state`, such as those of grain, that gives batches without end. A batch
        must not be written to after it was given.
    - `step`: from [`softsde.train.make_train_step`][].
    - `num_steps`: how many steps to make in all, over all sessions.
    - `folder`: the run: `metrics.jsonl` and `checkpoints/` are written there.
    - `config`: see [`softsde.train.Checkpointer`][].
    - `checkpoint_every`, `checkpoint_seconds`: how often to save, in steps and by the
        clock; `None` for never.
    - `keep`, `keep_every`: which checkpoints to keep, see
        [`softsde.train.Checkpointer`][].
    - `log_every`: how often to write a line of metrics: each is the mean over the steps
        since the line before.
    - `callbacks`: pairs `(every, function)`; `function(state, step)` is called after
        each `every`-th step. It must not keep the state, whose memory the next step
        takes.
    - `max_seconds`: stop with a checkpoint when this session has taken so long.
    - `progress`: whether to show a progress bar and messages.

    **Returns:**

    A [`softsde.train.FitResult`][].

    Raises [`softsde.train.NonFiniteError`][] at the first loss or gradient that is not
    finite, leaving the checkpoints from before; [`softsde.train.Interrupted`][] after
    SIGINT or SIGTERM, when a checkpoint has been written; `ValueError` if the data end
    or the folder belongs to another configuration.

    !!! Example

        ```{ .python .no-run }
        step = ss.train.make_train_step(loss_fn, optimiser, mesh=ss.train.make_mesh())
        result = ss.train.fit(state, loader, step, num_steps=50_000, folder="runs/blur")
        result.state.ema
        ```
    """
    _check_positive(
        num_steps=num_steps,
        checkpoint_every=checkpoint_every,
        checkpoint_seconds=checkpoint_seconds,
        log_every=log_every,
        max_seconds=max_seconds,
    )
    for every, _ in callbacks:
        if every < 1:
            raise ValueError(
                "`callbacks` are pairs `(every, function)` with `every` at least 1, "
                f"got {every}."
            )
    iterator = iter(data)
    if not isinstance(iterator, CheckpointableIterator):
        raise TypeError(
            "`data` must be an iterator with `get_state()` and `set_state(state)`, so "
            f"that a run can be resumed; got {type(iterator).__name__}. A loader of "
            "`softsde.data` or any grain data set gives one."
        )
    folder = Path(folder)
    first_host = jax.process_index() == 0
    began = time.monotonic()
    with (
        Checkpointer(
            folder / "checkpoints", config=config, keep=keep, keep_every=keep_every
        ) as checkpoints,
        _Signals() as signals,
    ):
        n, meter, earlier = int(state.step), _Meter(log_every), 0.0
        resumed = checkpoints.latest_step() is not None
        if resumed:
            state, n = checkpoints.restore(state, iterator)
            extra = checkpoints.about(n)["extra"]
            meter = _Meter(log_every, extra.get("meter"))
            earlier = extra.get("seconds", 0.0)

        def seconds() -> float:
            return earlier + time.monotonic() - began

        with (
            # Only the first host writes the curve; the others keep the same books.
            MetricsLog(folder / "metrics.jsonl" if first_host else None, step=n) as log,
            _Bar(n, num_steps, shown=progress and first_host) as bar,
        ):
            if resumed:
                bar.say(f"Resuming from step {n} of {num_steps} in {folder}.")
            saved, interrupted = time.monotonic(), False
            while n < num_steps:
                try:
                    batch = next(iterator)
                except StopIteration:
                    raise ValueError(
                        f"The data ended after step {n} of {num_steps}. Give data "
                        "without end: `.repeat()` of a grain data set."
                    ) from None
                state, metrics = step(state, batch)
                n += 1
                meter.push(n, metrics)
                meter.pull(log, checkpoints, lag=_LAG)
                bar.advance(batch, meter)

                now = time.monotonic()
                interrupted, out_of_time, save_by_clock = _agree(
                    signals.received != 0,
                    max_seconds is not None and now - began >= max_seconds,
                    checkpoint_seconds is not None
                    and now - saved >= checkpoint_seconds,
                    at=n % log_every == 0,
                )
                stop = interrupted or out_of_time or n == num_steps
                by_count = checkpoint_every is not None and n % checkpoint_every == 0
                save = stop or save_by_clock or by_count
                calls = [function for every, function in callbacks if n % every == 0]
                if save or calls:
                    # Only what is known to be finite is shown and saved, and a
                    # checkpoint is never ahead of the curve.
                    meter.pull(log, checkpoints, lag=0)
                for function in calls:
                    function(state, n)
                if save:
                    log.sync()
                    extra = {"meter": meter.state(), "seconds": seconds()}
                    checkpoints.save(state, iterator, n, extra=extra)
                    saved = time.monotonic()
                if stop:
                    break
            checkpoints.wait()
            if interrupted or signals.received:
                number = signal.Signals(signals.received or signal.SIGTERM)
                message = (
                    f"Interrupted by {number.name}: saved step {n} of {num_steps} in "
                    f"{folder}. Run the same command again to go on."
                )
                if first_host:
                    tqdm.write(message, file=sys.stderr)
                raise Interrupted(message, state, n, number)
        reason = "finished" if n >= num_steps else "out of time"
        return FitResult(state, n, reason, seconds())


class _Meter:
    """Takes metrics off the device late, adds them up, and looks at each step's loss.

    Its sums are part of a checkpoint, so that a line that is the mean over steps before
    and after a resumption is the same to the last bit.
    """

    def __init__(self, log_every: int, state: dict[str, Any] | None = None):
        self._log_every = log_every
        self._sums: dict[str, float] = dict(state["sums"]) if state else {}
        self._count: int = state["count"] if state else 0
        self._pending: deque[tuple[int, dict]] = deque()
        self.loss: float | None = None

    def state(self) -> dict[str, Any]:
        assert not self._pending
        return {"sums": self._sums, "count": self._count}

    def push(self, n: int, metrics: dict) -> None:
        """Take in the metrics of step `n`, which may not have been computed yet."""
        for value in metrics.values():
            if isinstance(value, jax.Array):
                value.copy_to_host_async()
        self._pending.append((n, metrics))

    def pull(self, log: MetricsLog, checkpoints: Checkpointer, *, lag: int) -> None:
        """Look at all metrics but those of the last `lag` steps; log what is due."""
        while len(self._pending) > lag:
            n, metrics = self._pending.popleft()
            values = {name: float(np.asarray(v)) for name, v in metrics.items()}
            vital = (values.get(name, 0.0) for name in ("loss", "grad_norm"))
            if not all(map(math.isfinite, vital)):
                raise _non_finite(n, values, checkpoints)
            for name, value in values.items():
                self._sums[name] = self._sums.get(name, 0.0) + value
            self._count += 1
            if n % self._log_every == 0:
                means = {name: sum_ / self._count for name, sum_ in self._sums.items()}
                log.write(n, means)
                self.loss = means.get("loss")
                self._sums, self._count = {}, 0


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
    return NonFiniteError(
        f"Not a finite number at step {n}: {found}. {kept} Resuming would come to the "
        "same step again: use a smaller learning rate, a longer warm-up, or a loss "
        "weight that does not blow up where the noise level vanishes. "
        "`jax.config.update('jax_debug_nans', True)` finds the operation.",
        n,
        last,
    )


class _Signals:
    """While open, SIGINT and SIGTERM are noted; a second one acts as it did before."""

    def __init__(self):
        self.received = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Signals":
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


class _Bar:
    """A progress bar with loss and images a second; rare lines where no one watches."""

    def __init__(self, start: int, total: int, *, shown: bool):
        self._bar = tqdm(
            desc="compiling",
            initial=start,
            total=total,
            disable=not shown,
            unit="step",
            dynamic_ncols=True,
            mininterval=0.5 if sys.stderr.isatty() else 30.0,
            maxinterval=60.0,
        )
        self._images, self._speed = 0, ""
        self._since = time.monotonic()

    def say(self, message: str) -> None:
        if not self._bar.disable:
            self._bar.write(message, file=sys.stderr)

    def advance(self, batch: Any, meter: _Meter) -> None:
        if self._bar.disable:
            return
        self._bar.set_description("training", refresh=False)
        self._images += batch_size(batch)
        elapsed = time.monotonic() - self._since
        if elapsed > 2.0:
            self._speed = f"{self._images / elapsed:.0f}"
            self._images, self._since = 0, time.monotonic()
        postfix = {"loss": f"{meter.loss:.4g}"} if meter.loss is not None else {}
        if self._speed:
            postfix["images/s"] = self._speed
        self._bar.set_postfix(postfix, refresh=False)
        self._bar.update()

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()


def _agree(*flags: Any, at: bool) -> list[bool]:
    """Whether any host raises each flag, so that all do the same at the same step.

    Clocks and signals differ between hosts. Asking costs a round trip, hence only `at`
    some steps; a lone host need not ask.
    """
    own = [bool(flag) for flag in flags]
    if jax.process_count() == 1:
        return own
    if not at:
        return [False] * len(own)
    everyone = multihost_utils.process_allgather(np.asarray(own))
    return [bool(flag) for flag in np.any(everyone, axis=0)]


def _check_positive(**values: float | int | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")

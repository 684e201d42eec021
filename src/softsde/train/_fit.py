"""The loop around the step: data, metrics, checkpoints, callbacks, interruptions."""

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from tqdm.auto import tqdm

from ._bar import Bar
from ._callbacks import Callbacks
from ._checkpoint import Checkpointer
from ._hosts import agree, is_first_host
from ._lock import was_locked
from ._meter import Meter
from ._metrics import MetricsLog, read_metrics
from ._position import CheckpointableIterator
from ._signals import Interrupted, Signals
from ._state import TrainState

# Metrics are read this many steps late, so that the device always has work.
_LAG = 2


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The result of [`softsde.train.fit`][].

    - `state`: the state after the last step.
    - `step`: how many steps were made, over all sessions of the run.
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
    """Train until `num_steps`, starting from the newest checkpoint in the folder.

    After a crash, a kill or an interruption, call it again with the same arguments: it
    goes on from that checkpoint. The parameters and `metrics.jsonl` end up bit for bit
    as if nothing had happened. A last checkpoint is always written.

    **Arguments:**

    - `state`: where to start if the folder holds no checkpoint. It is consumed.
    - `data`: an iterator with `get_state` and `set_state`, or an iterable that `iter`
        makes into one, such as the loaders of `softsde.data` and the data sets of
        grain. It must give batches without end. A batch must not be written to after
        it was given.
    - `step`: from [`softsde.train.make_train_step`][].
    - `num_steps`: how many steps to make in all, over all sessions.
    - `folder`: the folder of the run; `metrics.jsonl` and `checkpoints/` are written
        there.
    - `config`: see [`softsde.train.Checkpointer`][].
    - `checkpoint_every`, `checkpoint_seconds`: how often to save, in steps and in
        seconds; `None` for never.
    - `keep`, `keep_every`: which checkpoints to keep, see
        [`softsde.train.Checkpointer`][].
    - `log_every`: how often to write a line of metrics. Each line is the mean over the
        steps since the line before.
    - `callbacks`: pairs `(every, function)`; `function(state, step)` is called after
        each `every`-th step. It must not keep the state, because the next step takes
        its memory. A checkpoint that is due at the same step is written first. If a
        function raises, the state is saved before the error is raised again, and the
        next session repeats the calls of that step before it goes on.
    - `max_seconds`: stop with a checkpoint when this session has taken so long.
    - `progress`: whether to show a progress bar and messages.

    **Returns:**

    A [`softsde.train.FitResult`][].

    **Raises:** [`softsde.train.NonFiniteError`][] at the first loss or gradient that is
    not finite, and keeps the checkpoints written before;
    [`softsde.train.Interrupted`][] after SIGINT or SIGTERM, when a checkpoint has been
    written; `FileNotFoundError` if the folder holds the metrics of an earlier run whose
    checkpoints are gone; `ValueError` if the data end or the folder belongs to another
    configuration.

    !!! Example

        ```{ .python .no-run }
        step = ss.train.make_train_step(loss_fn, optimiser, mesh=ss.train.make_mesh())
        result = ss.train.fit(state, loader, step, num_steps=50_000, folder="runs/blur")
        averaged = result.state.ema
        ```
    """
    _check_positive(
        num_steps=num_steps,
        checkpoint_every=checkpoint_every,
        checkpoint_seconds=checkpoint_seconds,
        log_every=log_every,
        max_seconds=max_seconds,
    )
    folder = Path(folder)
    calls = Callbacks(callbacks, folder / "checkpoints")
    iterator = iter(data)
    if not isinstance(iterator, CheckpointableIterator):
        raise TypeError(
            "`data` must be an iterator with `get_state()` and `set_state(state)`, so "
            f"that a run can be resumed; got {type(iterator).__name__}. A loader of "
            "`softsde.data` or any grain data set gives one."
        )
    _check_not_lost(folder, checkpoint_every)
    began = time.monotonic()
    with (
        Checkpointer(
            folder / "checkpoints", config=config, keep=keep, keep_every=keep_every
        ) as checkpoints,
        Signals() as signals,
    ):
        n, meter, earlier = int(state.step), Meter(log_every), 0.0
        resumed = checkpoints.latest_step() is not None
        if resumed:
            state, n = checkpoints.restore(state, iterator)
            extra = checkpoints.about(n)["extra"]
            meter = Meter(log_every, extra.get("meter"))
            earlier = extra.get("seconds", 0.0)
        else:
            calls.forget()

        def seconds() -> float:
            return earlier + time.monotonic() - began

        with (
            # Only the first host writes the file; the others add up the same sums.
            MetricsLog(
                folder / "metrics.jsonl" if is_first_host() else None, step=n
            ) as log,
            Bar(n, num_steps, shown=progress and is_first_host()) as bar,
        ):

            def save() -> None:
                # The metrics reach the disk first: no checkpoint is ahead of them.
                log.sync()
                extra = {"meter": meter.state(), "seconds": seconds()}
                checkpoints.save(state, iterator, n, extra=extra)

            def call(*, saved: bool) -> None:
                """Make the calls due at step `n`; if one fails, no training is lost."""
                if saved:
                    # A call may also take the whole process down.
                    checkpoints.wait()
                error = None
                try:
                    calls.call(state, n)
                except Exception as e:
                    error = e
                (failed,) = agree(error is not None)
                if not failed:
                    if saved:
                        calls.mark(n)
                    return
                error = error or RuntimeError("A callback failed on another host.")
                try:
                    if not saved:
                        save()
                    checkpoints.wait()
                    error.add_note(
                        f"A callback of `fit` raised this at step {n}, which is saved "
                        f"in {folder}. Run the same command again to go on: it makes "
                        "the calls of that step first."
                    )
                finally:
                    raise error

            if resumed:
                bar.say(f"Resuming from step {n} of {num_steps} in {folder}.")
                if calls.are_pending(n):
                    call(saved=True)
            saved_at, interrupted = time.monotonic(), False
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
                bar.advance(batch, meter.loss)

                now = time.monotonic()
                interrupted, out_of_time, save_by_clock = agree(
                    signals.received != 0,
                    max_seconds is not None and now - began >= max_seconds,
                    checkpoint_seconds is not None
                    and now - saved_at >= checkpoint_seconds,
                    at=n % log_every == 0,
                )
                stop = interrupted or out_of_time or n == num_steps
                by_count = checkpoint_every is not None and n % checkpoint_every == 0
                save_now = stop or save_by_clock or by_count
                if save_now or calls.are_due(n):
                    # Only a state that is known to be finite is saved and shown.
                    meter.pull(log, checkpoints, lag=0)
                if save_now:
                    save()
                    saved_at = time.monotonic()
                if calls.are_due(n):
                    call(saved=save_now)
                if stop:
                    break
            checkpoints.wait()
            if interrupted or signals.received:
                number = signal.Signals(signals.received or signal.SIGTERM)
                message = (
                    f"Interrupted by {number.name}: saved step {n} of {num_steps} in "
                    f"{folder}. Run the same command again to go on."
                )
                if is_first_host():
                    tqdm.write(message, file=sys.stderr)
                raise Interrupted(message, state, n, number)
        reason = "finished" if n >= num_steps else "out of time"
        return FitResult(state, n, reason, seconds())


def _check_not_lost(folder: Path, checkpoint_every: int | None) -> None:
    """Refuse to start over in a folder whose checkpoints have been lost.

    A session that was killed before its first checkpoint leaves metrics too, and may
    start over. It has opened `checkpoints/` and has not come to its second checkpoint:
    the first one may still have been on its way to the disk.
    """
    checkpoints, curve = folder / "checkpoints", folder / "metrics.jsonl"
    rows = read_metrics(curve) if curve.exists() else []
    last = max((row["step"] for row in rows), default=0)
    kept = checkpoints.is_dir() and any(p.name.isdigit() for p in checkpoints.iterdir())
    had_saved = checkpoint_every is not None and last >= 2 * checkpoint_every
    lost = last > 0 and not kept and (had_saved or not was_locked(checkpoints))
    if not agree(is_first_host() and lost)[0]:
        return
    found = "holds no checkpoint" if checkpoints.is_dir() else "is missing"
    raise FileNotFoundError(
        f"{folder} holds traces of earlier training: metrics.jsonl goes up to step "
        f"{last}. But {checkpoints} {found}, so training cannot go on from there, and "
        "starting over would overwrite what that training has left. Copy the "
        "checkpoints back to go on; to start anew, delete metrics.jsonl or choose "
        "another folder."
    )


def _check_positive(**values: float | int | None) -> None:
    for name, value in values.items():
        if value is not None and not value > 0:
            raise ValueError(f"`{name}` must be positive, got {value}.")

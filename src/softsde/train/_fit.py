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
from ._chunks import Chunks
from ._goodput import Goodput
from ._hosts import agree, is_first_host
from ._lock import was_locked
from ._logs import Logs
from ._meter import Meter, NonFiniteError
from ._metrics import read_metrics
from ._position import CheckpointableIterator
from ._profile import Profile
from ._signals import Interrupted, Signals
from ._state import TrainState
from ._step import TrainStep

# Metrics are read this many calls late, so that the device always has work.
_LAG = 2


@dataclasses.dataclass(frozen=True)
class FitResult:
    """The result of [`softsde.train.fit`][].

    - `state`: the state after the last step.
    - `step`: how many steps were made, over all sessions of the run.
    - `reason`: `"finished"`, or `"out of time"` if `max_seconds` came first.
    - `seconds`: the time spent in training, over all sessions of the run.
    - `skipped`: the steps at which a batch was left out because its loss was not
        finite.
    """

    state: TrainState
    step: int
    reason: Literal["finished", "out of time"]
    seconds: float
    skipped: tuple[int, ...] = ()


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
    best_by: str | None = None,
    keep_best: int = 1,
    max_seconds: float | int | None = None,
    steps_per_call: int = 1,
    on_non_finite: Literal["raise", "skip"] = "raise",
    max_failures: int = 3,
    tensorboard: bool = False,
    profile_steps: int | None = None,
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
        next session repeats the calls of that step before it goes on. A function may
        return a dictionary of numbers, such as `{"fid": 3.1}`: they are appended to
        `evaluations.jsonl`. On several hosts every host makes every call.
    - `best_by`: the name of such a number, the smaller the better. A checkpoint is
        written at each step with callbacks, and the best `keep_best` of them are kept
        besides the newest; [`softsde.train.Checkpointer`][] tells which they are.
    - `max_seconds`: stop with a checkpoint when this session has taken so long.
    - `steps_per_call`: how many steps to run as one program, see
        [`softsde.train.TrainStep`][]`.many`. Fewer are run where a line of metrics, a
        checkpoint or a call is due.
    - `on_non_finite`: `"raise"` stops at the first loss or gradient that is not finite.
        `"skip"` goes back to the last checkpoint, makes the same steps again, and
        leaves out the batch of the step that failed.
    - `max_failures`: with `"skip"`, raise after so many failures that follow the same
        checkpoint.
    - `tensorboard`: also write the metrics as event files to `tensorboard/`.
    - `profile_steps`: trace this many steps with JAX's profiler, to `profile/`.
    - `progress`: whether to show a progress bar and messages.

    `goodput.json` tells what share of the wall time went into steps, and into what the
    rest went: see [`softsde.train.read_goodput`][].

    **Returns:**

    A [`softsde.train.FitResult`][].

    **Raises:** [`softsde.train.NonFiniteError`][] for a loss or gradient that is not
    finite (see `on_non_finite`), and keeps the checkpoints written before;
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
        steps_per_call=steps_per_call,
        max_failures=max_failures,
        profile_steps=profile_steps,
    )
    _check_choices(step, steps_per_call, on_non_finite, best_by, callbacks)
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
    # Only the first host writes files; the others add up the same sums.
    own = folder if is_first_host() else None
    with (
        Checkpointer(
            folder / "checkpoints",
            config=config,
            keep=keep,
            keep_every=keep_every,
            keep_best=keep_best if best_by is not None else 0,
        ) as checkpoints,
        Signals() as signals,
    ):
        n, meter, earlier = int(state.step), Meter(log_every), 0.0
        goodput = Goodput(None if own is None else own / "goodput.json")
        skipped: list[int] = []
        resumed = checkpoints.latest_step() is not None
        if resumed:
            with goodput.doing("restoring"):
                state, n = checkpoints.restore(state, iterator)
            extra = checkpoints.about(n)["extra"]
            meter = Meter(log_every, extra.get("meter"))
            earlier = extra.get("seconds", 0.0)
            skipped = extra.get("skipped", [])
            goodput.resume(extra.get("goodput"))
        else:
            calls.forget()
        chunks = Chunks(
            iterator,
            num_steps,
            steps_per_call,
            [log_every, checkpoint_every, *calls.intervals],
        )

        def seconds() -> float:
            return earlier + time.monotonic() - began

        with (
            Logs(own, n, tensorboard=tensorboard) as logs,
            Bar(n, num_steps, shown=progress and is_first_host()) as bar,
        ):
            profile = Profile(folder / "profile", profile_steps)

            def write(at: int, values: dict[str, float]) -> None:
                logs.metrics(at, values)
                goodput.write_sometimes()

            def pull(*, lag: int) -> None:
                """Read the metrics of all but the last `lag` calls of the step."""
                with goodput.doing("stepping"):
                    meter.pull(write, checkpoints, lag=lag)

            def save() -> None:
                with goodput.doing("checkpoint"):
                    # The metrics reach the disk first: no checkpoint is ahead of them.
                    logs.sync()
                    extra = {
                        "meter": meter.state(),
                        "seconds": seconds(),
                        "skipped": skipped,
                        "goodput": goodput.state(),
                    }
                    checkpoints.save(state, iterator, n, extra=extra)
                    goodput.write()

            def call(*, saved: bool) -> None:
                """Make the calls due at step `n`; if one fails, no training is lost."""
                if saved:
                    # A call may also take the whole process down.
                    checkpoints.wait()
                error = None
                try:
                    with goodput.doing("callbacks"):
                        found = calls.call(state, n)
                    logs.evaluations(n, found)
                    if best_by is not None:
                        checkpoints.score(n, _score(found, best_by))
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

            failures: dict[int, int] = {}

            def roll_back(error: NonFiniteError) -> None:
                """Go back to the last checkpoint; leave out the batch that failed."""
                nonlocal state, n, meter, skipped
                profile.close()
                last = error.last_good_step
                if on_non_finite == "raise" or last is None:
                    raise error
                failures[last] = failures.get(last, 0) + 1
                if failures[last] > max_failures:
                    error.add_note(
                        f"{failures[last]} batches in a row failed after step {last}, "
                        f"which is more than `max_failures={max_failures}`: the cause "
                        "is not a single batch. Lower the learning rate, or look at "
                        "the data and the loss."
                    )
                    raise error
                with goodput.doing("restoring"):
                    state, n = checkpoints.restore(state, iterator)
                extra = checkpoints.about(n)["extra"]
                meter = Meter(log_every, extra.get("meter"))
                chunks.skip(error.step)
                skipped = sorted({*extra.get("skipped", []), *chunks.skipped})
                goodput.roll_back(extra.get("goodput"))
                logs.rewind(n)
                bar.rewind(n)
                bar.say(f"{error.found} Back to step {n}; that batch is left out.")

            if resumed:
                bar.say(f"Resuming from step {n} of {num_steps} in {folder}.")
                if calls.are_pending(n):
                    call(saved=True)
            elif on_non_finite == "skip":
                # Otherwise a failure before the first checkpoint ends the run.
                save()
            saved_at, interrupted = time.monotonic(), False
            while n < num_steps:
                with goodput.doing("data"):
                    batch, count = chunks.next(n)
                profile.before()
                with goodput.doing("stepping" if chunks.seen(count) else "compiling"):
                    if count == 1:
                        state, metrics = step(state, batch)
                    else:
                        assert isinstance(step, TrainStep)
                        state, metrics = step.many(state, batch)
                n += count
                profile.after(count, metrics)
                meter.push(n, count, metrics)
                try:
                    pull(lag=_LAG)
                except NonFiniteError as error:
                    roll_back(error)
                    continue
                goodput.add_images(bar.advance(batch, count, meter.loss))

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
                scored = best_by is not None and calls.are_due(n)
                save_now = stop or save_by_clock or by_count or scored
                if save_now or calls.are_due(n):
                    # Only a state that is known to be finite is saved and shown.
                    try:
                        pull(lag=0)
                    except NonFiniteError as error:
                        roll_back(error)
                        continue
                if save_now:
                    save()
                    saved_at = time.monotonic()
                if calls.are_due(n):
                    call(saved=save_now)
                if stop:
                    break
            profile.close()
            with goodput.doing("checkpoint"):
                checkpoints.wait()
            goodput.write()
            bar.say(goodput.line())
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
        return FitResult(state, n, reason, seconds(), tuple(skipped))


def _score(found: dict[str, float], best_by: str) -> float:
    if best_by not in found:
        raise ValueError(
            f"`best_by={best_by!r}`, but the callbacks returned "
            f"{sorted(found) or 'no numbers'}. Return a dictionary with that key from "
            "one of them, such as `{'fid': 3.1}`."
        )
    return found[best_by]


def _check_choices(step, steps_per_call, on_non_finite, best_by, callbacks) -> None:
    if steps_per_call > 1 and not isinstance(step, TrainStep):
        raise TypeError(
            "`steps_per_call` above 1 needs a `step` from "
            f"`softsde.train.make_train_step`, got {type(step).__name__}."
        )
    if on_non_finite not in ("raise", "skip"):
        raise ValueError(
            f"`on_non_finite` must be 'raise' or 'skip', got {on_non_finite!r}."
        )
    if best_by is not None and len({every for every, _ in callbacks}) != 1:
        raise ValueError(
            f"`best_by={best_by!r}` needs `callbacks` with one common interval, "
            "so that each call gives that number; got "
            f"{sorted({every for every, _ in callbacks})}."
        )


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

"""The loop: what it logs, when it saves, how it stops, and how it goes on."""

import math
import shutil
import signal
import threading
import time

import equinox as eqx
import grain
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import (
    INPUTS,
    LAZY,
    OUTPUTS,
    assert_same_state,
    by_hand,
    fit,
    leaves,
    make_data,
    make_step,
    shared_step,
    steps_in,
)

from softsde import train

# See `test_checkpoint.py`.
pytestmark = pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)


def test_a_run_is_the_steps_one_after_the_other(tmp_path):
    result = fit(tmp_path, 10)
    state, history = by_hand(10)
    assert (result.step, result.reason) == (10, "finished")
    assert_same_state(result.state, state)
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [3, 6, 9]
    for row in rows:
        window = history[row["step"] - 3 : row["step"]]
        assert row.keys() == {"step", *window[0]}
        for name in window[0]:
            mean = math.fsum(metrics[name] for metrics in window) / 3
            assert row[name] == pytest.approx(mean, rel=1e-14)
    assert steps_in(tmp_path) == [8, 10]


@pytest.mark.parametrize("stops", [(1,), (5, 6), (4, 8, 9), (11,)])
def test_going_on_is_as_if_never_stopped(tmp_path, stops):
    """Also within a window of metrics, and whether or not a checkpoint was due."""
    whole = fit(tmp_path / "whole", 12)
    for n in (*stops, 12):
        parts = fit(tmp_path / "parts", n)
    assert_same_state(parts.state, whole.state)
    curves = [(tmp_path / f / "metrics.jsonl").read_bytes() for f in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_a_finished_run_is_left_alone(tmp_path):
    first = fit(tmp_path, 5)
    before = (tmp_path / "metrics.jsonl").read_bytes()
    again = fit(tmp_path, 5, step=lambda state, batch: pytest.fail("a step was made"))
    assert (again.step, again.reason) == (5, "finished")
    assert_same_state(first.state, again.state)
    assert (tmp_path / "metrics.jsonl").read_bytes() == before


class Failing:
    """An iterator that fails after some batches: a crash that no one expects."""

    def __init__(self, good):
        self.good, self.data = good, iter(make_data())

    def __iter__(self):
        return self

    def __next__(self):
        if self.good == 0:
            raise ZeroDivisionError
        self.good -= 1
        return next(self.data)

    def get_state(self):
        return self.data.get_state()

    def set_state(self, state):
        self.data.set_state(state)


def test_a_crash_before_the_first_checkpoint(tmp_path):
    """The run starts over by itself, and drops the lines of steps that are lost."""
    for checkpoint_every in (None, 100, 4):
        folder = tmp_path / str(checkpoint_every)
        with pytest.raises(ZeroDivisionError):
            fit(folder, 9, data=Failing(7), checkpoint_every=checkpoint_every)
        rows = train.read_metrics(folder / "metrics.jsonl")
        # The metrics are read two steps late.
        assert [row["step"] for row in rows] == [3]
        assert steps_in(folder) == ([4] if checkpoint_every == 4 else [])
        result = fit(folder, 9, checkpoint_every=checkpoint_every)
        assert_same_state(result.state, by_hand(9)[0])
        rows = train.read_metrics(folder / "metrics.jsonl")
        assert [row["step"] for row in rows] == [3, 6, 9]


def remove_folder(folder):
    shutil.rmtree(folder / "checkpoints")


def empty_folder(folder):
    """A copy by patterns that leave out the content of `checkpoints`."""
    remove_folder(folder)
    (folder / "checkpoints").mkdir()


def remove_steps(folder):
    """Somebody makes room on the disk."""
    for path in (folder / "checkpoints").iterdir():
        if path.is_dir():
            shutil.rmtree(path)


@pytest.mark.parametrize("lose", [remove_folder, empty_folder, remove_steps])
def test_a_run_whose_checkpoints_are_lost_is_not_started_over(tmp_path, lose):
    folder = tmp_path / "run"
    whole = fit(folder, 9)
    shutil.copytree(folder / "checkpoints", tmp_path / "backup")
    lose(folder)
    listing = sorted(folder.rglob("*"))
    curve = (folder / "metrics.jsonl").read_bytes()

    def no_step(state, batch):
        pytest.fail("a step was made")

    with pytest.raises(FileNotFoundError) as error:
        fit(folder, 9, step=no_step)
    message = str(error.value)
    assert "metrics.jsonl goes up to step 9" in message
    found = "is missing" if lose is remove_folder else "holds no checkpoint"
    assert f"{folder / 'checkpoints'} {found}" in message
    assert "delete metrics.jsonl or choose another folder" in message
    # Nothing was touched by the attempt.
    assert sorted(folder.rglob("*")) == listing
    assert (folder / "metrics.jsonl").read_bytes() == curve

    # Each of the two ways out that the message names.
    shutil.copytree(tmp_path / "backup", folder / "checkpoints", dirs_exist_ok=True)
    assert_same_state(fit(folder, 9, step=no_step).state, whole.state)
    lose(folder)
    (folder / "metrics.jsonl").unlink()
    assert_same_state(fit(folder, 9).state, whole.state)


# orbax's reader threads outlive the event loop of the read that failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_damage_repairs_itself(tmp_path):
    fit(tmp_path / "run", 9)
    for file in (tmp_path / "run" / "checkpoints" / "9").rglob("d/*"):
        file.write_bytes(b"")
    with pytest.warns(UserWarning, match="Went back to step 8"):
        result = fit(tmp_path / "run", 12)
    whole = fit(tmp_path / "whole", 12)
    assert_same_state(result.state, whole.state)
    curves = [(tmp_path / f / "metrics.jsonl").read_bytes() for f in ("whole", "run")]
    assert curves[0] == curves[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_save_and_stop(tmp_path, number, capfd):
    before = signal.getsignal(number)
    kick = [(5, lambda state, n: n == 5 and signal.raise_signal(number))]
    with pytest.raises(SystemExit) as stopped:
        fit(tmp_path / "parts", 20, callbacks=kick, progress=True)
    interrupted = stopped.value
    assert isinstance(interrupted, train.Interrupted)
    assert interrupted.code == 128 + number
    assert signal.getsignal(number) is before
    assert steps_in(tmp_path / "parts")[-1] == interrupted.step < 10
    message = f"Interrupted by {signal.Signals(number).name}: saved step"
    assert message in capfd.readouterr().err
    result = fit(tmp_path / "parts", 20, progress=True)
    assert f"Resuming from step {interrupted.step}" in capfd.readouterr().err
    assert_same_state(result.state, by_hand(20)[0])
    fit(tmp_path / "whole", 20)
    curves = [(tmp_path / f / "metrics.jsonl").read_bytes() for f in ("whole", "parts")]
    assert curves[0] == curves[1]


def test_a_second_signal_does_not_wait(tmp_path):
    def twice(state, n):
        # Python runs a handler some time after its signal: two at once may be one.
        noting = signal.getsignal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        while signal.getsignal(signal.SIGINT) is noting:
            time.sleep(0.001)
        signal.raise_signal(signal.SIGINT)
        for _ in range(5000):
            time.sleep(0.001)

    # As in a terminal: a shell starts what it runs in the background deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path, 20, callbacks=[(5, twice)])
    finally:
        signal.signal(signal.SIGINT, before)
    assert steps_in(tmp_path) == [4]


def test_threads_train_too(tmp_path):
    """Signals belong to the main thread; elsewhere there are none to handle."""
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(tmp_path, 4)))
    thread.start()
    thread.join()
    assert_same_state(results[0].state, by_hand(4)[0])


def test_time_limit(tmp_path):
    result = fit(tmp_path, 10**6, max_seconds=0.3, checkpoint_every=None)
    assert result.reason == "out of time" and 0 < result.step < 10**6
    assert result.seconds < 30
    assert steps_in(tmp_path) == [result.step]
    further = fit(tmp_path, 10**6, max_seconds=0.3, checkpoint_every=None)
    assert further.step > result.step and further.seconds > result.seconds


def test_checkpoints_by_the_clock(tmp_path):
    fit(tmp_path, 3, checkpoint_every=None, checkpoint_seconds=1e-9, keep=10)
    assert steps_in(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_what_is_not_finite_is_noticed(tmp_path, where):
    def loss(model, batch, *, key):
        value = jnp.mean((model(batch["x"]) - batch["y"]) ** 2)
        # sqrt has an infinite slope at 0, whatever its value there.
        trouble = jnp.nan if where == "loss" else jnp.sqrt(jnp.sum(model.bias) * 0.0)
        return value + jnp.where(batch["bad"][0], trouble, 0.0), {}

    data = grain.MapDataset.range(1000).map(
        lambda i: {
            "x": INPUTS[i % 64].astype(np.float32),
            "y": OUTPUTS[i % 64].astype(np.float32),
            "bad": np.bool_(i // 8 == 9),
        }
    )
    if where == "gradient":
        # `where` passes the infinite slope on even where it is not chosen.
        first_bad, kept = 1, []
    else:
        first_bad, kept = 10, [4, 8]
    step = make_step(loss=loss)
    with pytest.raises(train.NonFiniteError) as error:
        fit(tmp_path, 40, data=data.batch(8).to_iter_dataset(LAZY), step=step)
    assert error.value.step == first_bad
    assert error.value.last_good_step == (kept[-1] if kept else None)
    message = str(error.value)
    assert f"at step {first_bad}: loss = {'nan' if where == 'loss' else ''}" in message
    assert "grad_norm = nan" in message or where == "loss"
    if kept:
        assert "The last good checkpoint, step 8 in" in message
        assert steps_in(tmp_path) == kept
    else:
        assert "No checkpoint had been written yet" in message
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [n for n in (3, 6, 9) if n < first_bad]


def test_another_configuration(tmp_path):
    fit(tmp_path, 2, config={"network": {"width": 16}})
    before = (tmp_path / "metrics.jsonl").read_bytes()
    with pytest.raises(ValueError, match=r"network.width: 16 in the ckpt|width: 16 in"):
        fit(tmp_path, 4, config={"network": {"width": 32}})
    assert (tmp_path / "metrics.jsonl").read_bytes() == before
    assert steps_in(tmp_path) == [2]


def test_data_that_end(tmp_path):
    data = grain.MapDataset.source(list(make_data_once())).to_iter_dataset(LAZY)
    with pytest.raises(ValueError, match=r"ended after step 3 of 9.*repeat"):
        fit(tmp_path, 9, data=data)


def make_data_once():
    for batch, _ in zip(make_data(), range(3), strict=False):
        yield batch


def test_data_that_cannot_be_resumed(tmp_path):
    with pytest.raises(TypeError, match=r"`get_state\(\)`.*got generator.*grain"):
        fit(tmp_path, 9, data=make_data_once())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "options",
    [
        {"num_steps": 0},
        {"checkpoint_every": 0},
        {"checkpoint_seconds": -1.0},
        {"log_every": 0},
        {"max_seconds": 0.0},
    ],
)
def test_numbers_that_must_be_positive(tmp_path, options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"`{name}` must be positive, got {value}"):
        fit(tmp_path, **({"num_steps": 3} | options))


def test_the_bar_tells_loss_and_speed(tmp_path, capfd):
    fit(tmp_path, 6, progress=True)
    err = capfd.readouterr().err
    # The bar shows the last line that was known when it was drawn.
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert "6/6" in err
    assert any(f"loss={row['loss']:.4g}" in err for row in rows)


def test_batches_are_sharded(tmp_path):
    """The same run on two devices: each step's arithmetic is that of one."""
    result = fit(tmp_path, 5, step=shared_step(2))
    for a, b in zip(leaves(result.state), leaves(by_hand(5)[0]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    arrays = eqx.filter(result.state, eqx.is_array)
    for x in jax.tree.leaves(arrays):
        assert x.sharding.device_set == set(jax.devices())

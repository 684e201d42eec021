"""A run lives from its first step to its last: it logs, saves and ends as it says."""

import json
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from regression import (
    assert_same_state,
    loss_fn,
    make_data,
    make_state,
    make_step,
    shared_step,
)

from softsde import train


class Stream:
    """The batches of `make_data`, of which some are poisoned, counted from 1."""

    def __init__(self, poisoned=(), pause=0.0):
        self.inner, self.n = iter(make_data()), 0
        self.poisoned, self.pause = poisoned, pause

    def __iter__(self):
        return self

    def __next__(self):
        time.sleep(self.pause)
        self.n += 1
        batch = next(self.inner)
        if self.n in self.poisoned:
            batch = {**batch, "x": np.full_like(batch["x"], np.nan)}
        return batch

    def get_state(self):
        return {"n": self.n, "inner": self.inner.get_state()}

    def set_state(self, state):
        self.n = state["n"]
        self.inner.set_state(state["inner"])


def fit(folder, data, steps=20, step=None, **options):
    options = {"checkpoint_every": 5, "log_every": 4, "progress": False} | options
    return train.fit(
        make_state(),
        data,
        step or shared_step(),
        num_steps=steps,
        folder=folder,
        **options,
    )


def without(poisoned, steps=20):
    """State and losses of steps on the stream without these batches."""
    state, data, losses = make_state(), Stream(), []
    while len(losses) < steps:
        batch = next(data)
        if data.n in poisoned:
            continue
        state, metrics = shared_step()(state, batch)
        losses.append(float(metrics["loss"]))
    return state, losses


@pytest.mark.parametrize(
    "poisoned, skipped",
    [
        pytest.param((3,), (3,), marks=pytest.mark.slow),
        pytest.param((13,), (13,), marks=pytest.mark.slow),
        ((7, 8, 15), (7, 13)),
    ],
)
def test_batches_that_are_not_finite_are_left_out(tmp_path, poisoned, skipped):
    """To the last bit as if they had not been in the data; also where two follow each
    other, and before the first checkpoint."""
    result = fit(tmp_path, Stream(poisoned), on_non_finite="skip")
    state, losses = without(poisoned)
    assert_same_state(result.state, state)
    assert result.skipped == skipped
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [4, 8, 12, 16, 20]
    np.testing.assert_allclose(
        [row["loss"] for row in rows], np.reshape(losses, (5, 4)).mean(1), rtol=1e-6
    )


def test_a_run_with_a_batch_left_out_is_resumed(tmp_path):
    fit(tmp_path, Stream((7,)), steps=12, on_non_finite="skip")
    result = fit(tmp_path, Stream((7,)), steps=20, on_non_finite="skip")
    assert_same_state(result.state, without((7,))[0])
    assert result.skipped == (7,)


def test_repeated_failure_ends_the_run(tmp_path):
    with pytest.raises(train.NonFiniteError, match="step 8") as caught:
        fit(
            tmp_path,
            Stream(range(8, 100)),
            on_non_finite="skip",
            max_failures=2,
        )
    assert caught.value.last_good_step == 5
    (note,) = caught.value.__notes__
    assert "3 batches in a row failed after step 5" in note
    assert "`max_failures=2`" in note


def test_by_default_the_first_failure_ends_the_run(tmp_path):
    with pytest.raises(train.NonFiniteError, match="Not a finite number at step 8"):
        fit(tmp_path, Stream((8,)))


def test_the_best_checkpoints_are_kept(tmp_path):
    scores = {3: 4.0, 6: 1.0, 9: 3.0, 12: float("nan"), 15: 2.0, 18: 5.0}
    fit(
        tmp_path,
        make_data(),
        steps=18,
        checkpoint_every=None,
        callbacks=[(3, lambda state, n: {"fid": scores[n], "other": n})],
        best_by="fid",
        keep_best=2,
        keep=1,
    )
    with train.Checkpointer(tmp_path / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.all_steps() == [6, 15, 18]
        assert checkpoints.best_step() == 6
    lines = (tmp_path / "evaluations.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["step"] for row in rows] == [3, 6, 9, 12, 15, 18]
    assert rows[1] == {"step": 6, "fid": 1.0, "other": 6.0}
    assert rows[3]["fid"] is None


@pytest.mark.slow
def test_the_best_stays_over_a_resumption(tmp_path):
    def session(steps, score):
        return fit(
            tmp_path,
            make_data(),
            steps=steps,
            checkpoint_every=None,
            callbacks=[(4, lambda state, n: {"fid": score(n)})],
            best_by="fid",
            keep=1,
        )

    session(8, lambda n: n)
    session(16, lambda n: n)
    with train.Checkpointer(tmp_path / "checkpoints", read_only=True) as checkpoints:
        assert checkpoints.all_steps() == [4, 16]


def test_a_score_that_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"`best_by='fid'`.*returned \['kid'\]"):
        fit(
            tmp_path,
            make_data(),
            callbacks=[(3, lambda state, n: {"kid": 1.0})],
            best_by="fid",
        )


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"on_non_finite": "ignore"}, ValueError, "'raise' or 'skip', got 'ignore'"),
        ({"best_by": "fid"}, ValueError, r"common interval.*got \[\]"),
        (
            {"steps_per_call": 2, "step": lambda state, batch: (state, {})},
            TypeError,
            "needs a `step` from.*make_train_step`, got function",
        ),
        ({"steps_per_call": 0}, ValueError, "`steps_per_call` must be positive"),
    ],
)
def test_wrong_choices(tmp_path, options, error, message, as_a_user):
    with pytest.raises(error, match=message):
        fit(tmp_path, make_data(), **options)


@pytest.mark.slow
def test_several_steps_a_call(tmp_path):
    """The same run, and stopped and resumed to the last bit."""
    one = fit(tmp_path / "one", make_data())
    many = fit(tmp_path / "many", make_data(), steps_per_call=3)
    np.testing.assert_allclose(many.state.model.weight, one.state.model.weight, 1e-5)
    curves = [
        [row["loss"] for row in train.read_metrics(tmp_path / name / "metrics.jsonl")]
        for name in ("one", "many")
    ]
    assert len(curves[0]) == 5
    np.testing.assert_allclose(*curves, rtol=1e-5)
    calls = []

    def stop(state, n):
        calls.append(n)
        if n == 10 and len(calls) == 1:
            raise RuntimeError("stop")

    options = {"steps_per_call": 3, "callbacks": [(10, stop)]}
    straight = fit(tmp_path / "straight", make_data(), **options | {"callbacks": ()})
    with pytest.raises(RuntimeError, match="stop"):
        fit(tmp_path / "stopped", make_data(), **options)
    resumed = fit(tmp_path / "stopped", make_data(), **options)
    assert calls == [10, 10, 20]
    # Chunks end at 10 and 20 here and there: 10 and 20 are checkpoints.
    assert_same_state(resumed.state, straight.state)


def test_goodput_adds_up_to_the_wall_time(tmp_path):
    began = time.monotonic()
    fit(
        tmp_path,
        Stream(pause=0.01),
        step=make_step(),
        callbacks=[(10, lambda *_: time.sleep(0.1))],
    )
    wall = time.monotonic() - began
    report = train.read_goodput(tmp_path)
    seconds = report["seconds"]
    assert abs(sum(seconds.values()) - report["total_seconds"]) < 1e-9
    assert report["total_seconds"] <= wall
    # Closing the files comes after the report.
    assert report["total_seconds"] > 0.8 * wall
    assert seconds["data"] >= 20 * 0.01
    assert 0.2 <= seconds["callbacks"] < 0.3
    assert seconds["compiling"] > seconds["stepping"] > 0
    assert report["images"] == 20 * 8
    assert report["goodput"] == seconds["stepping"] / report["total_seconds"]


@pytest.mark.slow
def test_steps_that_are_made_again_count_as_lost(tmp_path):
    def loss(model, batch, *, key):
        def wait(x):
            time.sleep(0.02)
            return x

        value, metrics = loss_fn(model, batch, key=key)
        shape = jax.ShapeDtypeStruct((), value.dtype)
        held = jax.pure_callback(wait, shape, jax.lax.stop_gradient(value))
        return value + jnp.zeros_like(value) * held, metrics

    fit(tmp_path, Stream((9,)), 12, make_step(loss=loss), on_non_finite="skip")
    seconds = train.read_goodput(tmp_path)["seconds"]
    # Steps 6 to 9 are made twice.
    assert 4 * 0.02 <= seconds["lost"] < 1.0
    assert 12 * 0.02 * 0.8 <= seconds["stepping"]


def test_no_report(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no .*goodput.json.*`softsde.train"):
        train.read_goodput(tmp_path)


@pytest.mark.slow
def test_some_steps_are_traced(tmp_path):
    fit(tmp_path, make_data(), profile_steps=2)
    assert list((tmp_path / "profile").rglob("*.xplane.pb"))


def test_event_files_hold_the_metrics(tmp_path):
    pytest.importorskip("tensorboardX")
    from tensorboardX.proto.event_pb2 import Event

    fit(tmp_path, make_data(), tensorboard=True)
    found = {}
    for path in (tmp_path / "tensorboard").iterdir():
        content = path.read_bytes()
        while content:
            # A record: its length, a checksum, the event, a checksum.
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]
            for value in event.summary.value:
                if value.tag == "loss":
                    found[event.step] = value.simple_value
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert sorted(found) == [row["step"] for row in rows]
    for row in rows:
        np.testing.assert_allclose(found[row["step"]], row["loss"], rtol=1e-6)


def test_event_files_need_a_package(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(ImportError, match=r"pip install 'softsde\[tensorboard\]'"):
        fit(tmp_path, make_data(), tensorboard=True)

"""A run's folder: what it holds, how it goes on, and what it refuses."""

import dataclasses
import json
import os
import shutil

import equinox as eqx
import jax
import numpy as np
import pytest
from PIL import Image
from tiny_run import steps, tiny

import softsde as ss
from experiments import _build, _cli, _run, train
from experiments._errors import CommandError, FolderError
from experiments._spec import Spec


def same(a, b) -> bool:
    a, b = (jax.tree.leaves(eqx.filter(tree, eqx.is_array)) for tree in (a, b))
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def network_of(folder):
    return ss.load(folder).denoiser.network  # pyright: ignore


def test_a_run_folder_holds_what_its_readme_says(run):
    text = (run / "README.md").read_text()
    for line in text.splitlines():
        if line.startswith("| `"):
            pattern = line.split("`")[1].rstrip("/")
            assert list(run.glob(pattern)), pattern
    assert [p.name for p in sorted((run / "samples").iterdir())] == [
        "step_000004.png",
        "step_000004_way.png",
        "step_000006.png",
        "step_000006_way.png",
    ]
    rows = ss.train.read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6]
    card = ss.models.read_card(run)
    assert (card["steps"], card["images_seen"]) == (6, 6 * 16)
    with Image.open(run / "samples" / "step_000006.png") as picture:
        # Four 8x8 images in a row at seven times their size, three pixels around.
        assert picture.width == 4 * (8 * 7 + 3) + 3


def test_a_finished_run_is_left_as_it_is(run, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(run, folder)
    result = train.train(tiny(), folder)
    assert (result.step, result.reason) == (6, "finished")
    assert same(network_of(folder), network_of(run))
    lines = [(path / "metrics.jsonl").read_text() for path in (folder, run)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_stopped_run_ends_as_if_it_had_not_been(run, tmp_path):
    folder = tmp_path / "stopped"
    train.train(steps(tiny(), 3), folder)
    train.train(tiny(), folder)
    assert same(network_of(folder), network_of(run))
    lines = [(path / "metrics.jsonl").read_text() for path in (folder, run)]
    assert lines[0] == lines[1]


def test_a_run_folder_is_a_model_of_what_was_trained(run):
    model, config = ss.load(run), tiny()
    # The process is as it was before training, and the network is not.
    written = json.loads((run / "process.json").read_text())
    assert same(model.process, ss.models.from_json(written))
    assert same(model.process, ss.soft_blur((8, 8, 1), max_blur=5.0))
    parts = _build.Parts(config, ss.data.digits())
    first = parts.network()
    assert not same(network_of(run), first)
    # The average of the weights that the last checkpoint holds.
    optimiser = parts.optimiser()
    like = ss.train.TrainState.create(
        ss.Denoiser(first, model.process), optimiser, key=jax.random.key(0)
    )
    with ss.train.Checkpointer(
        run / "checkpoints", config=config.of_checkpoints(), read_only=True
    ) as checkpoints:
        state, step = checkpoints.restore(like)
    assert step == 6
    assert same(model.denoiser, state.ema)
    images = ss.data.to_array(ss.data.digits(), limit=_build.FITTED_ON)
    assert same(model.prior, ss.EmpiricalPrior.fit(model.process, images))


def test_a_model_that_lost_its_checkpoints_is_not_overwritten(run, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints"))
    before = (folder / "model.safetensors").read_bytes()
    everything = {p.name for p in folder.iterdir()} | {".lock"}
    with pytest.raises(FolderError, match="checkpoints is missing"):
        train.train(tiny(), folder)
    # Without the model, the metrics and the pictures still say that there was one.
    (folder / "model.json").unlink()
    with pytest.raises(FolderError, match="checkpoints is missing"):
        train.train(tiny(), folder)
    assert (folder / "model.safetensors").read_bytes() == before
    assert {p.name for p in folder.iterdir()} == everything - {"model.json"}
    # Empty folders of checkpoints are no checkpoints either.
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / ".lock").touch()
    with pytest.raises(FolderError, match="missing or empty"):
        train.train(tiny(), folder)


@pytest.mark.slow
def test_a_run_without_checkpoints_goes_on_from_its_weights(run, tmp_path):
    folder = tmp_path / "copied"
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("checkpoints"))
    # So small a rate changes no float32: the weights of step 8 are those of step 6.
    still = dataclasses.replace(tiny().optimiser, learning_rate=1e-30)
    longer = dataclasses.replace(steps(tiny(), 8), optimiser=still)
    result = train.train(longer, folder, from_weights=True)
    assert result.step == 8
    leaves = zip(
        jax.tree.leaves(network_of(run)),
        jax.tree.leaves(network_of(folder)),
        strict=True,
    )
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-6)
    rows = ss.train.read_metrics(folder / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6, 8]
    with pytest.raises(CommandError, match="has its checkpoints"):
        train.train(longer, folder, from_weights=True)


@pytest.mark.slow
def test_a_start_that_failed_does_not_bind_the_next(tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise ValueError("too little memory")

    empty = tmp_path / "empty"
    empty.mkdir()
    for folder in (tmp_path / "run", empty):
        with monkeypatch.context() as patch:
            patch.setattr(ss.train, "fit", fail)
            with pytest.raises(ValueError, match="too little memory"):
                train.train(tiny(), folder)
    # What the start had made is gone, and no more.
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    assert not list(empty.iterdir())


@pytest.mark.slow
def test_what_comes_later_is_tried_before_the_first_step(tmp_path, monkeypatch):
    stepped = []
    monkeypatch.setattr(ss.train, "fit", lambda *a, **k: stepped.append(1))
    monkeypatch.chdir(tmp_path)
    images = np.random.default_rng(0).random((40, 8, 8, 2), np.float32)
    np.save("two.npy", images)
    data = dataclasses.replace(tiny().data, source="two.npy")
    with pytest.raises(CommandError, match="1 or 3 channels"):
        train.train(tiny(data=data), tmp_path / "run")
    assert not stepped and [p.name for p in tmp_path.iterdir()] == ["two.npy"]


@pytest.mark.slow
def test_a_picture_that_fails_costs_no_training(run, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    real = ss.plotting.save_grid

    def fail(path, *args, **kwargs):
        if "step_" in str(path):
            raise OSError("no space left")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(ss.plotting, "save_grid", fail)
    result = train.train(steps(tiny(), 8), folder)
    assert result.step == 8
    assert "No picture at step 8: OSError: no space left" in capsys.readouterr().err
    assert ss.models.read_card(folder)["steps"] == 8


def test_files_have_ordinary_modes(run):
    umask = os.umask(0)
    os.umask(umask)
    for path in run.rglob("*"):
        if path.is_file() and "checkpoints" not in path.parts:
            assert path.stat().st_mode & 0o777 == 0o666 & ~umask, path


def test_a_second_command_leaves_a_live_run_alone(run, tmp_path, capsys):
    folder = tmp_path / "live"
    shutil.copytree(run, folder)
    contents = lambda: {p: p.read_bytes() for p in folder.iterdir() if p.is_file()}
    before = contents()
    held = ss.train.lock(folder)
    assert held is not None
    with pytest.raises(SystemExit) as stop, _cli.plain_errors():
        train.train(steps(tiny(), 9), folder)
    held.close()
    assert stop.value.code == 1
    assert "is in use" in capsys.readouterr().err
    assert contents() == before


@pytest.mark.slow
def test_a_run_may_start_from_the_weights_of_another(run, tmp_path):
    training = dataclasses.replace(
        tiny().training, steps=1, initial=str(run), sample_every=1
    )
    # So small a rate changes no float32.
    still = dataclasses.replace(tiny().optimiser, learning_rate=1e-30)
    train.train(tiny(training=training, optimiser=still), tmp_path / "second")
    first, second = network_of(run), network_of(tmp_path / "second")
    leaves = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-6)
    card = ss.models.read_card(tmp_path / "second")
    assert card["initial"] == ss.models.read_card(run)
    other = Spec("UNet", {"base_channels": 16, "channel_multipliers": (1,)})
    with pytest.raises(CommandError, match="base_channels: 8 there, 16 asked for\n"):
        train.train(tiny(training=training, network=other), tmp_path / "third")
    with pytest.raises(CommandError, match=r"has a UNet, .* wanted for a DiT"):
        train.train(tiny(training=training, network=Spec("DiT")), tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_another_config_is_refused_with_what_differs(run):
    other = tiny(process=Spec("soft_blur", {"max_blur": 3.0}))
    before = (run / "config.json").read_text()
    with pytest.raises(FolderError, match=r"--process.max-blur: 5.0 there, 3.0 asked"):
        train.train(other, run)
    assert (run / "config.json").read_text() == before


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        train.train(tiny(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_wrong_config_writes_nothing(tmp_path):
    wrong = dataclasses.replace(tiny().optimiser, learning_rate=-1.0)
    with pytest.raises(CommandError, match=r"--optimiser\.learning-rate"):
        train.train(tiny(optimiser=wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_without_a_model_say_what_to_do(tmp_path, run):
    with pytest.raises(FolderError, match=r"does not exist.*experiments\.train"):
        _run.open_model(str(tmp_path / "nowhere"))
    with pytest.raises(FolderError, match="holds no model"):
        _run.open_model(str(tmp_path))
    shutil.copy(run / "config.json", tmp_path)
    with pytest.raises(FolderError, match=r"has no model yet.*after 4 steps"):
        _run.open_model(str(tmp_path))


def test_a_model_that_names_no_data_says_how(run):
    model = ss.load(run)
    with pytest.raises(FolderError, match="does not name the data"):
        _run.data_of(ss.Model(model.denoiser, model.prior))
    assert _run.data_of(model).source == "digits"

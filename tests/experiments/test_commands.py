"""The commands on a tiny run: what they write, that runs resume, how they fail."""

import dataclasses
import json
import shutil
import sys

import jax
import numpy as np
import pytest
from jax.sharding import Mesh
from PIL import Image
from tiny_run import steps, tiny

import softsde as ss
from experiments import (
    _cli,
    _run,
    classifier,
    evaluate,
    pretrained,
    sample,
    schedule,
    train,
)
from experiments._config import SamplingConfig
from experiments._solvers import SolverConfig


def same(a, b) -> bool:
    leaves = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(x, y) for x, y in leaves)


def test_a_run_folder_holds_what_its_readme_says(run):
    text = (run / "README.md").read_text()
    for line in text.splitlines():
        if line.startswith("| `"):
            pattern = line.split("`")[1].rstrip("/")
            assert list(run.glob(pattern)), pattern
    assert [p.name for p in sorted((run / "samples").iterdir())] == [
        "step_000004.png",
        "step_000006.png",
    ]
    rows = ss.train.read_metrics(run / "metrics.jsonl")
    assert [row["step"] for row in rows] == [2, 4, 6]
    card = json.loads((run / "model.json").read_text())
    assert (card["steps"], card["images_seen"]) == (6, 6 * 16)
    with Image.open(run / "samples" / "step_000006.png") as picture:
        # Four 8x8 images in a row at seven times their size, three pixels around.
        assert picture.width == 4 * (8 * 7 + 3) + 3


def test_a_finished_run_is_left_as_it_is(run, tmp_path):
    folder = tmp_path / "again"
    shutil.copytree(run, folder)
    result = train.train(tiny(), folder)
    assert (result.step, result.reason) == (6, "finished")
    assert same(_run.open_model(str(folder)).network, _run.open_model(str(run)).network)
    lines = [(path / "metrics.jsonl").read_text() for path in (folder, run)]
    assert lines[0] == lines[1]


@pytest.mark.slow
def test_a_stopped_run_ends_as_if_it_had_not_been(run, tmp_path):
    folder = tmp_path / "stopped"
    train.train(steps(tiny(), 3), folder)
    train.train(tiny(), folder)
    assert same(_run.open_model(str(folder)).network, _run.open_model(str(run)).network)
    lines = [(path / "metrics.jsonl").read_text() for path in (folder, run)]
    assert lines[0] == lines[1]


def test_only_the_network_is_trained(run):
    model = _run.open_model(str(run))
    written = ss.schedules.load(run / "levels.json")
    assert same(model.process.levels, written)
    first = train._build.make_network(model.config.network, model.shape)
    assert not same(model.network, first)


@pytest.mark.slow
def test_a_run_may_start_from_the_weights_of_another(run, tmp_path):
    training = dataclasses.replace(
        tiny().training, steps=1, initial=str(run), sample_every=1
    )
    # So small a rate changes no float32.
    still = dataclasses.replace(tiny().optimiser, learning_rate=1e-30)
    train.train(tiny(training=training, optimiser=still), tmp_path / "second")
    first, second = (_run.open_model(str(f)) for f in (run, tmp_path / "second"))
    leaves = zip(
        jax.tree.leaves(first.network), jax.tree.leaves(second.network), strict=True
    )
    for a, b in leaves:
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert second.card["initial"] == first.card
    other = dataclasses.replace(tiny().network, base_channels=16)
    with pytest.raises(ValueError, match=r"cannot start one of \(8, 8, 1\)"):
        train.train(tiny(training=training, network=other), tmp_path / "third")
    assert not (tmp_path / "third").exists()


def test_another_config_is_refused_with_what_differs(run):
    other = tiny(process=dataclasses.replace(tiny().process, max_blur=3.0))
    before = (run / "config.json").read_text()
    with pytest.raises(ValueError, match=r"--process.max_blur: 5.0 there, 3.0 asked"):
        train.train(other, run)
    assert (run / "config.json").read_text() == before


def test_a_folder_of_something_else_is_not_written_to(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no run"):
        train.train(tiny(), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["letter.txt"]


def test_a_wrong_config_writes_nothing(tmp_path):
    wrong = dataclasses.replace(tiny().optimiser, learning_rate=-1.0)
    with pytest.raises(ValueError, match="learning_rate"):
        train.train(tiny(optimiser=wrong), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_folders_without_a_model_say_what_to_do(tmp_path, run):
    with pytest.raises(FileNotFoundError, match=r"does not exist.*experiments\.train"):
        _run.open_model(str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="holds no run"):
        _run.open_model(str(tmp_path))
    shutil.copy(run / "config.json", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"has no model yet.*after 4 steps"):
        _run.open_model(str(tmp_path))


def test_sample_writes_what_the_library_draws(run, tmp_path):
    sampler = SolverConfig(steps=2)
    command = sample.Sample(str(run), num=4, sampler=sampler, folder=tmp_path)
    paths = sample.sample(command)
    assert all(path.exists() for path in paths)
    images = np.load(tmp_path / "momentum_2_steps_seed0.npz")["images"]
    model = _run.open_model(str(run))
    drawn = ss.sample(
        model.process,
        model.denoiser,
        prior=model.prior,
        num_samples=4,
        num_steps=2,
        mesh=Mesh(np.array(jax.local_devices()), ("data",)),
        key=jax.random.fold_in(jax.random.key(0), 0),
    )
    np.testing.assert_allclose(images, drawn.x, atol=1e-5)


def test_samples_do_not_depend_on_how_many_are_drawn(run):
    model = _run.open_model(str(run))
    few = model.sample(3, batch_size=4, num_steps=2)
    many = model.sample(7, batch_size=4, num_steps=2)
    assert few.shape == (3, 8, 8, 1) and many.shape == (7, 8, 8, 1)
    np.testing.assert_allclose(few, many[:3], atol=1e-5)
    # Batches differ from one another.
    assert np.abs(many[4:] - many[:3]).max() > 1e-3


def test_the_samplers_are_the_library_s(run):
    process = _run.open_model(str(run)).process
    assert SolverConfig(7, "naive", "flow").options(process) == {
        "num_steps": 7,
        "solver": ss.Naive(),
        "form": "control",
        "noise_clock": "flow",
    }
    clock = SolverConfig(churn=3.0).options(process)["noise_clock"]
    assert same(clock, ss.terms.ChurnClock(process, 3.0))


def test_what_was_not_said_of_a_sampler_is_the_experiment_s():
    config = SamplingConfig(steps=30, churn=5.0)
    assert SolverConfig().completed(config) == SolverConfig(30, churn=5.0)
    said = SolverConfig(10, churn=0.0)
    assert said.completed(config) == said
    # Samplers that cannot take churn get none.
    for other in (SolverConfig(solver="naive"), SolverConfig(noise_clock="flow")):
        assert other.completed(config).churn == 0


def test_churn_is_for_the_sampler_that_can_take_it():
    with pytest.raises(ValueError, match="goes with `--noise-clock paper`"):
        SolverConfig(solver="naive", churn=1.0)
    with pytest.raises(ValueError, match="at least 0"):
        SolverConfig(churn=-1.0)


def test_evaluate_finds_no_difference_in_real_images_and_much_in_samples(run, tmp_path):
    command = evaluate.Evaluate(
        str(run),
        num=100,
        sampler=SolverConfig(steps=2),
        classifier="pixels",
        folder=tmp_path,
    )
    folder, report = evaluate.evaluate(command)
    assert report == json.loads((folder / "evaluation.json").read_text())
    untrained, real = report["samples"], report["held_out"]
    assert untrained["frechet_distance"] > 3 * real["frechet_distance"]
    assert untrained["sliced_wasserstein"] > 2 * real["sliced_wasserstein"]
    assert untrained["precision"] < real["precision"]
    text = evaluate.table(report)
    assert "pixels" in text and "test images" in text and "FID" not in text
    assert (folder / "neighbours.png").exists()


def test_skill_is_the_loss_in_units_of_affine_regression(run):
    """Of the identity, whose loss where nothing is blurred is the variance itself."""
    model = _run.open_model(str(run))
    identity = dataclasses.replace(model, network=lambda t, x, key=None: 0 * x)
    images = ss.data.to_array(ss.data.load("digits"))
    first = evaluate.skill(identity, images, images)[0]
    weight = ss.losses.RelativeWeight.fit(model.process, images)
    variance = float(model.process.sigma(0.0)) ** 2
    expected = variance * float(weight(np.float32(0.0)))
    # 500 images of 64 pixels: the relative deviation of the mean of squares.
    assert first == pytest.approx(expected, rel=4 * np.sqrt(2 / (500 * 64)))
    assert first > 1


def test_evaluate_without_a_classifier_says_how_to_train_one(
    run, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(_run, "PRETRAINED", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"experiments\.classifier digits"):
        evaluate.evaluate(evaluate.Evaluate(str(run), num=10))
    with pytest.raises(FileNotFoundError, match=r"no classifier in nowhere\.eqx"):
        evaluate.evaluate(evaluate.Evaluate(str(run), num=10, classifier="nowhere.eqx"))


@pytest.mark.slow
def test_classifier_beats_linear_regression_and_is_read_back(tmp_path):
    command = classifier.Train(
        "digits", folder=tmp_path, epochs=12, batch_size=64, widths=(16, 32)
    )
    path, card = classifier.train(command)
    network, read = classifier.load(path)
    assert read == json.loads((tmp_path / "card.json").read_text())
    images, labels, test_images, test_labels = (
        get(ss.data.digits(split))
        for split in ("train", "test")
        for get in (ss.data.to_array, ss.data.to_labels)
    )
    logits = ss.metrics.extract_features(network, test_images)
    accuracy = np.mean(logits.argmax(axis=1) == test_labels)
    assert accuracy == card["test_accuracy"]
    pixels, test_pixels = images.reshape(-1, 64), test_images.reshape(-1, 64)
    weights = np.linalg.lstsq(pixels, np.eye(10)[labels], rcond=None)[0]
    linear = np.mean((test_pixels @ weights).argmax(axis=1) == test_labels)
    assert accuracy > linear + 0.01


def test_shift_moves_an_image_and_loses_nothing_inside():
    image = np.zeros((9, 9, 1), np.float32)
    image[4, 4] = 1
    rng = np.random.default_rng(0)
    places = set()
    for _ in range(400):
        moved = classifier.Shift(1).random_map({"image": image}, rng)["image"]
        assert moved.shape == image.shape and moved.sum() == 1
        places.add(tuple(int(i) for i in np.argwhere(moved[..., 0])[0]))
    assert places == {(y, x) for y in (3, 4, 5) for x in (3, 4, 5)}


def test_an_exported_model_is_the_run_s(run, tmp_path, monkeypatch):
    monkeypatch.setattr(_run, "PRETRAINED", tmp_path)
    monkeypatch.setattr(pretrained, "_PRETRAINED", tmp_path)
    pretrained.export(run, "tiny")
    assert pretrained.names() == ["tiny"]
    model, original = pretrained.load("tiny"), _run.open_model(str(run))
    assert same(
        (model.network, model.prior, model.process),
        (original.network, original.prior, original.process),
    )
    assert model.card["config"]["data"]["source"] == "digits"
    assert model.card["steps"] == 6
    # Commands write beside the runs, not into the code.
    assert not _run.output_folder("tiny").is_relative_to(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there are: tiny"):
        pretrained.load("tinny")
    with pytest.raises(ValueError, match="no name for a model"):
        pretrained.export(run, "../tiny")
    monkeypatch.setattr(pretrained._export, "MAX_BYTES", 100)
    with pytest.raises(ValueError, match="Train a narrower network"):
        pretrained.export(run, "tiny")


@pytest.mark.parametrize(
    "module", [train, sample, evaluate, classifier, schedule], ids=lambda m: m.__name__
)
def test_help_names_the_command(module, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as stop:
        module.main()
    assert stop.value.code == 0
    assert f"python -m {module.__name__}" in capsys.readouterr().out


def test_an_unknown_preset_is_refused_with_those_that_there_are(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["x", "fashion_blur"])
    with pytest.raises(SystemExit) as stop:
        train.main()
    assert stop.value.code == 2
    assert "fashion_mnist_blur" in "".join(capsys.readouterr())


def test_options_reach_the_config(monkeypatch):
    words = ["x", "mnist_blur", "--network.channel-multipliers", "1", "2", "2"]
    monkeypatch.setattr(sys, "argv", [*words, "--folder", "there"])
    seen = []
    monkeypatch.setattr(train, "train", lambda *args: seen.append(args) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train.main()
    config, folder = seen[0]
    assert config.network.channel_multipliers == (1, 2, 2)
    assert config.data.source == "mnist" and str(folder) == "there"


def test_mistakes_end_in_their_message():
    with pytest.raises(SystemExit) as stop, _cli.plain_errors():
        raise ValueError("too few images")
    assert stop.value.code == "\nerror: too few images"


@pytest.mark.slow
def test_quickstart_makes_digits(tmp_path):
    from experiments import quickstart

    command = quickstart.Quickstart(tmp_path / "quick")
    paths = quickstart.quickstart(command)
    assert all(path.exists() for path in paths)
    report = json.loads(paths[-1].read_text())
    figures, real = report["samples"], report["held_out"]
    # Most samples lie among the digits, and they are not copies.
    assert figures["precision"] > 0.6
    assert figures["recall"] > 0.4
    assert figures["class_total_variation"] < 0.25
    assert figures["nearest_training_image"] > 0.5 * real["nearest_training_image"]

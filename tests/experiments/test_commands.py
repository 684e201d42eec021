"""The commands on a tiny run: their files, resumed runs, and errors."""

import dataclasses
import json
import os
import runpy
import shutil
import sys

import equinox as eqx
import jax
import numpy as np
import pytest
from PIL import Image
from tiny_run import steps, tiny

import softsde as ss
from experiments import (
    _build,
    _cli,
    _evaluation,
    _images,
    _pictures,
    _run,
    classifier,
    evaluate,
    sample,
    samplers,
    train,
)
from experiments.__main__ import commands
from experiments._config import DataConfig
from experiments._errors import CommandError, FolderError
from experiments._solvers import SolverConfig
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
    with pytest.raises(
        CommandError, match=r"'base_channels': 8.*\n.*\n.*_channels': 16"
    ):
        train.train(tiny(training=training, network=other), tmp_path / "third")
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


def test_sample_writes_what_the_library_draws(run, tmp_path, monkeypatch):
    sampler = SolverConfig(steps=2)
    command = sample.Sample(str(run), num=4, sampler=sampler, folder=tmp_path)
    paths = sample.sample(command)
    assert all(path.exists() for path in paths)
    images = np.load(tmp_path / "default_2_steps_seed0.npz")["images"]
    model = ss.load(run)
    drawn = ss.sample(
        model.denoiser,
        prior=model.prior,
        num_samples=4,
        num_steps=2,
        key=jax.random.key(0),
    )
    np.testing.assert_allclose(images, drawn.x, atol=1e-5)

    # The same again is not drawn; anything else is.
    monkeypatch.setattr(ss, "sample", lambda *_, **__: pytest.fail("drawn again"))
    assert sample.sample_once(command) == paths
    for other in ({"num": 3}, {"seed": 1}, {"sampler": SolverConfig(steps=3)}):
        with pytest.raises(pytest.fail.Exception, match="drawn again"):
            sample.sample_once(dataclasses.replace(command, **other))


@pytest.mark.parametrize("num, batch_size", [(3, 8), (5, 2)])
def test_samples_on_their_way_end_where_they_should(run, num, batch_size):
    """Of one program where all fit into a batch, else of one of their own."""
    sampler = SolverConfig(steps=2)
    model = ss.load(run)
    images, way = _pictures.draw(model, num, sampler.options(), batch_size=batch_size)
    assert images.shape[0] == num and way.shape[0] == 2 * min(num, _pictures.ROWS)
    # A row of states, and below it one of predictions, whose last is the sample.
    np.testing.assert_allclose(way[1::2, -1], images[: _pictures.ROWS], atol=1e-5)


@pytest.mark.slow
def test_a_shipped_model_is_not_drawn_into_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = ss.models.names()[0]
    sampler = SolverConfig(steps=1)
    paths = sample.sample(sample.Sample(name, num=1, sampler=sampler))
    assert all(path.parent == paths[0].parent for path in paths)
    # The next command of the quickstart, `train NAME`, makes its folder here.
    assert not (tmp_path / "runs" / name).exists()
    assert all(path.exists() for path in paths)


SAID = {
    "momentum": (SolverConfig(7, "momentum", "ode"), ss.Momentum(), "ode"),
    "edm": (SolverConfig(7, "edm"), ss.EDMHeun(), None),
    "ancestral": (SolverConfig(7, "ancestral"), ss.DDIM(eta=1.0), None),
    "ddim": (SolverConfig(7, "ddim"), ss.DDIM(), None),
    "naive": (SolverConfig(7, "naive"), ss.Naive(), None),
    "heun": (SolverConfig(7, "heun", "sde"), ss.Heun(), "sde"),
    "heun_normalised": (
        SolverConfig(7, "heun_normalised"),
        ss.Heun("normalised"),
        None,
    ),
    "multistep": (
        SolverConfig(7, "multistep", churn=3.0),
        ss.Multistep(),
        ss.clocks.Churn(3.0),
    ),
    "options": (
        SolverConfig(7, "DDIM(eta=0.5)"),
        ss.DDIM(eta=0.5),
        None,
    ),
    "clock": (
        SolverConfig(7, "Heun(coordinates='normalised')", "Churn(2.0)"),
        ss.Heun("normalised"),
        ss.clocks.Churn(2.0),
    ),
    "corrector": (
        SolverConfig(
            7, "PredictorCorrector(predictor=Naive, corrector=Langevin(snr=0.1))"
        ),
        ss.PredictorCorrector(ss.Naive(), ss.Langevin(snr=0.1)),
        None,
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_the_samplers_are_the_library_s(name):
    config, solver, clock = SAID[name]
    expected = {"num_steps": 7, "solver": solver}
    if clock is not None:
        expected["clock"] = clock
    assert config.options() == expected


def test_options_that_are_left_out_are_the_experiment_s():
    experiment = SolverConfig(30, "momentum", churn=5.0)
    assert SolverConfig().completed(experiment) == experiment
    assert SolverConfig().completed(None) == SolverConfig()
    assert SolverConfig().options() == {}
    said = SolverConfig(10, "heun", churn=0.0)
    assert said.completed(experiment) == said
    # A solver is not given the noise that was chosen for another.
    assert SolverConfig(solver="naive").completed(experiment) == SolverConfig(
        30, "naive"
    )
    assert SolverConfig(clock="ode").completed(experiment) == SolverConfig(
        30, "momentum", "ode"
    )
    assert SolverConfig(solver="heun").completed(experiment).churn is None


def test_noise_is_for_solvers_that_follow_a_clock():
    for wrong in ({"churn": 1.0}, {"clock": "sde"}):
        with pytest.raises(
            ValueError, match="`--solver naive` does not follow a clock"
        ):
            SolverConfig(solver="naive", **wrong)
    with pytest.raises(ValueError, match="Give one of them"):
        SolverConfig(clock="ode", churn=1.0)
    with pytest.raises(ValueError, match="at least 0"):
        SolverConfig(churn=-1.0)
    with pytest.raises(ValueError, match="at least 1"):
        SolverConfig(steps=0)


@pytest.mark.parametrize(
    "name",
    [
        # One of them here; the others wait for the slow lane.
        pytest.param(name, marks=() if name in kept else pytest.mark.slow)
        for kept in [("Multistep, churn",)]
        for name in samplers.SAMPLERS
    ],
)
def test_compared_samplers_cost_what_was_asked_for(name, run):
    options = samplers.solver_config(name, 4).options()
    model = ss.load(run)
    drawn = ss.sample(
        model.denoiser,
        prior=model.prior,
        num_samples=1,
        key=jax.random.key(0),
        **options,
    )
    # The last prediction is not counted.
    assert drawn.nfe == 4 + 1
    # Churn goes no further than half the number of steps.
    if isinstance(clock := options.get("clock"), ss.clocks.Churn):
        assert clock.amount == options["num_steps"] / 2


@pytest.mark.slow
def test_evaluate_finds_no_difference_in_real_images_and_much_in_samples(run, tmp_path):
    command = evaluate.Evaluate(
        str(run),
        num=100,
        sampler=SolverConfig(steps=2),
        classifier="pixels",
        folder=tmp_path,
    )
    paths, report = evaluate.evaluate(command)
    assert report == json.loads(paths[0].read_text())
    untrained, real = report["samples"], report["held_out"]
    assert untrained["frechet_distance"] > 3 * real["frechet_distance"]
    assert untrained["sliced_wasserstein"] > 2 * real["sliced_wasserstein"]
    assert untrained["precision"] < real["precision"]
    text = evaluate.table(report)
    assert "pixels" in text and "test images" in text and "FID" not in text
    assert all(path.exists() for path in paths)
    # Another sampler's result stands beside it.
    other = dataclasses.replace(command, sampler=SolverConfig(3, "ddim"), num=50)
    assert evaluate.evaluate(other)[0][0] != paths[0] and paths[0].exists()


@pytest.mark.slow
def test_skill_is_the_loss_in_units_of_affine_regression(run):
    """Of the identity: its loss is the variance of the noise where there is no blur."""
    model = ss.load(run)
    identity = ss.FunctionDenoiser(lambda t, x: x, model.process)
    images = ss.data.to_array(ss.data.load("digits"))
    first = _evaluation.skill(identity, images, images)[0]
    weight = ss.losses.RelativeWeight.fit(model.process, images)
    variance = float(model.process.sigma(0.0)) ** 2
    expected = variance * float(weight(model.process, np.float32(0.0)))
    # 500 images of 64 pixels: the relative deviation of the mean of squares.
    assert first == pytest.approx(expected, rel=4 * np.sqrt(2 / (500 * 64)))
    assert first > 1


def test_evaluate_without_a_classifier_compares_pixels_and_says_so(
    run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    assert _evaluation.open_space(None, DataConfig("digits")).name == "pixels"
    assert "experiments.classifier digits" in capsys.readouterr().err
    with pytest.raises(FolderError, match="nowhere does not exist"):
        evaluate.evaluate(evaluate.Evaluate(str(run), num=10, classifier="nowhere"))


def test_a_classifier_of_other_data_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    network = ss.nn.Classifier((8, 8, 1), num_classes=2, key=jax.random.key(0))
    name = f"classifier_{_images.data_name('a/images.npz')}"
    card = {"source": "a/images.npz"}
    ss.models.save_network(tmp_path / "runs" / name, network, card)
    assert classifier.find("a/images.npz") == f"runs/{name}"
    # Another file of the same name has another folder.
    with pytest.raises(FolderError, match=r"no classifier of b/images\.npz"):
        classifier.find("b/images.npz")
    ss.models.save_network(tmp_path / "runs" / name, network, {"source": "c.npz"})
    with pytest.raises(FolderError, match=r"trained on c\.npz"):
        classifier.find("a/images.npz")
    assert classifier.find("fashion_mnist") == "classifier_fashion_mnist"


def test_a_model_that_names_no_data_says_how(run):
    model = ss.load(run)
    with pytest.raises(FolderError, match="does not name the data"):
        _run.data_of(ss.Model(model.denoiser, model.prior))
    assert _run.data_of(model).source == "digits"


@pytest.mark.slow
def test_classifier_beats_linear_regression_and_is_read_back(tmp_path):
    command = classifier.Train(
        "digits", folder=tmp_path, epochs=12, batch_size=64, widths=(16, 32)
    )
    folder, card = classifier.train(command)
    network, read = classifier.load(str(folder))
    assert read == json.loads(json.dumps(card))
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


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", commands())
def test_help_names_the_command(name, capsys, monkeypatch):
    """Each command is run as `python -m` runs it, so that it must reach its `main`."""
    module = f"experiments.{name}"
    monkeypatch.setattr(sys, "argv", ["x", "--help"])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(module, run_name="__main__")
    assert stop.value.code == 0
    assert f"python -m {module}" in capsys.readouterr().out


def test_options_reach_the_config(monkeypatch):
    words = ["x", "mnist_blur", "--network.channel-multipliers", "1", "2", "2"]
    words += ["--sampling.solver", "momentum", "--sampling.steps", "7"]
    monkeypatch.setattr(sys, "argv", [*words, "--folder", "there"])
    seen = []
    monkeypatch.setattr(train, "train", lambda *a, **k: seen.append((*a, k)) or 1 / 0)
    with pytest.raises(SystemExit):
        train.main()
    config, folder, record = seen[0]
    assert record["command"].endswith("--sampling.steps 7 --folder there")
    assert config.network.options["channel_multipliers"] == (1, 2, 2)
    # Options that were not given are the experiment's and the library's.
    assert config.network.options["base_channels"] == 48
    assert config.network.options["num_heads"] == 4
    assert config.sampling.sampler == SolverConfig(7, "momentum")
    assert config.data.source == "mnist" and str(folder) == "there"


@pytest.mark.parametrize(
    "error, code, said",
    [
        (ValueError("too few images"), 1, "error: too few images"),
        (CommandError("`--steps` is 0"), 2, "error: `--steps` is 0"),
        (FolderError("no run"), 1, "error: no run"),
        (KeyError("x"), 1, "KeyError: 'x'\nThis was not expected"),
        (KeyboardInterrupt(), 130, "Interrupted."),
    ],
)
def test_mistakes_end_in_their_message(error, code, said, capsys):
    for debug in (False, True):
        with pytest.raises(SystemExit) as stop, _cli.plain_errors(debug=debug):
            raise error
        assert stop.value.code == code
        printed = capsys.readouterr().err
        assert said in printed and ("Traceback" in printed) == debug


@pytest.mark.slow
def test_quickstart_makes_digits(tmp_path):
    from experiments import quickstart

    command = quickstart.Quickstart(tmp_path / "quick")
    paths = quickstart.quickstart(command)
    assert all(path.exists() for path in paths)
    measured = (p for p in paths if p.parent.name == "evaluation")
    report = json.loads(next(p for p in measured if p.suffix == ".json").read_text())
    figures, real = report["samples"], report["held_out"]
    # Most samples lie among the digits, and they are not copies.
    assert figures["precision"] > 0.6
    assert figures["recall"] > 0.4
    assert figures["class_total_variation"] < 0.25
    assert figures["nearest_training_image"] > 0.5 * real["nearest_training_image"]

"""One's own images: found, split, trained on, and measured."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_run import tiny

import softsde as ss
from experiments import _build, _evaluation, _images, _run, classifier, evaluate, train
from experiments._config import DEFAULT, DataConfig
from experiments._errors import FolderError
from experiments._images import ImagesConfig
from experiments._solvers import SolverConfig
from experiments._spec import Spec


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """120 small pictures in two classes."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, low in (("dark", 0), ("light", 128)):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for i in range(60):
            pixels = rng.integers(low, low + 128, (8, 8), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{i}.png")
    return "mine"


def test_sizes_channels_labels_and_a_split_are_found(folder):
    training = _images.load(folder, ImagesConfig())
    test = _images.load(folder, ImagesConfig(), "test")
    assert training.shape == test.shape == (8, 8, 1)
    assert training.class_names == ("dark", "light")
    assert len(training) + len(test) == 120 and len(test) > 0
    contents = [
        {s[i]["image"].tobytes() for i in range(len(s))} for s in (training, test)
    ]
    assert not contents[0] & contents[1]
    for source in (training, test):
        light = np.array([source[i]["image"].min() >= 128 for i in range(len(source))])
        np.testing.assert_array_equal(source.labels, light)


def test_a_folder_s_own_test_split_is_used(folder, tmp_path):
    for split, number in (("train", 6), ("test", 3)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for i in range(number):
            image = Image.new("RGB", (8, 8), (i, 0, 0))
            image.save(tmp_path / "set" / split / f"{i}.png")
    assert len(_images.load("set", ImagesConfig())) == 6
    assert len(_images.load("set", ImagesConfig(), "test")) == 3


def test_nothing_is_held_out_if_told_so(folder):
    assert len(_images.load(folder, ImagesConfig(), held_out=0.0)) == 120
    with pytest.raises(FolderError, match="--held-out"):
        _images.load(folder, ImagesConfig(), "test", held_out=0.0)


def test_names_of_data_are_those_of_no_other_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {_images.data_name(f"{d}/images.npz") for d in ("a", "b", "a/../a")}
    assert len(names) == 2
    assert _images.data_name("Fashion-MNIST") == "fashion_mnist"


@pytest.mark.parametrize("side", [8, 12, 16, 24, 25, 28, 32, 50, 64, 100])
def test_the_network_suits_the_size(side):
    spec = _build.network_for((side, side, 3))
    patch = spec.options["patch_size"]
    levels = len(spec.options["channel_multipliers"])
    # What UNet asks of sides, and not so coarse that nothing is left.
    assert side % (patch * 2 ** (levels - 1)) == 0
    assert side / (patch * 2 ** (levels - 1)) >= 4
    # A pixel may be far from the nearest borders in one direction.
    assert spec.options["positions"] == (side >= 16)
    assert _build.network_for((8, side, 3)).options["positions"] == (side >= 16)


def test_a_run_keeps_the_network_that_was_chosen_for_it(tmp_path):
    """Though another may be chosen later. Old runs have no file, and no positions."""
    config = tiny(network=DEFAULT)
    chosen = lambda: _run.read_network(tmp_path, config, (16, 16, 1))
    assert chosen() == _build.network_for((16, 16, 1), positions=False)
    first = Spec("UNet", {"base_channels": 8, "channel_multipliers": (1,)})
    _run.start(tmp_path, config, ss.ve(), first, "train")
    assert chosen() == first
    named = Spec("DiT")
    assert _run.read_network(tmp_path, tiny(network=named), (16, 16, 1)) == named
    (tmp_path / "network.json").write_text("{")
    with pytest.raises(FolderError, match=r"network\.json cannot be read .* a copy"):
        chosen()


@pytest.mark.slow
def test_a_run_goes_on_with_the_network_that_was_chosen_for_it(tmp_path, monkeypatch):
    config = tiny(network=DEFAULT)
    short = dataclasses.replace(config.training, steps=2)
    train.train(dataclasses.replace(config, training=short), tmp_path / "run")
    before = _run.read_network(tmp_path / "run", config, (8, 8, 1))
    assert before == _build.network_for((8, 8, 1))
    monkeypatch.setattr(_build, "network_for", lambda *_: pytest.fail("chosen again"))
    train.train(config, tmp_path / "run")
    assert _run.steps_of(tmp_path / "run") == config.training.steps


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`samples` has")
def test_train_and_evaluate_on_own_images(folder, monkeypatch, capsys):
    data = DataConfig(folder)
    config = tiny(data=data)
    train.train(config, Path("runs/own"))
    card = ss.models.read_card("runs/own")
    assert card["held_out"]["share"] == 0.1 and "SHA-256" in card["held_out"]["rule"]
    model = _run.open_model("runs/own")
    assert _run.data_of(model) == data
    command = evaluate.Evaluate("runs/own", num=50, sampler=SolverConfig(steps=2))
    _, report = evaluate.evaluate(command)
    assert "experiments.classifier mine" in capsys.readouterr().err
    assert report["held_out_name"] == "test images" and report["space"] == "pixels"
    # As many samples as images.
    assert report["num"] == len(_images.load(folder, ImagesConfig(), "test"))


@pytest.mark.slow
def test_a_classifier_of_own_images_is_found_by_evaluate(folder, capsys):
    command = classifier.Train(folder, epochs=12, batch_size=16, widths=(8, 16))
    where, card = classifier.train(command)
    assert card["test_accuracy"] > 0.9
    assert classifier.find(folder) == str(where)
    assert "mine" in _evaluation.open_space(None, DataConfig(folder)).name


def test_the_preset_reads_options_of_images(monkeypatch):
    words = "images --data.source x --data.size 16 --data.channels 1 --data.folders"
    config, folder, *_ = train.read(
        [*words.split(), "classes", "--data.value-range", "-1", "1"]
    )
    assert config.data.images == ImagesConfig(16, 1, "classes", False, (-1.0, 1.0))
    assert str(folder) == "runs/images"

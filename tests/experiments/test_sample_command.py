"""`sample` draws and writes what it says, and `compare` compares runs."""

import dataclasses
import json
import shutil
from pathlib import Path

import diffrax
import jax
import numpy as np
import pytest
from PIL import Image
from tiny_run import tiny

import softsde as ss
from experiments import __main__, _pictures, compare, sample, train
from experiments._config import ConditionConfig
from experiments._errors import CommandError
from experiments._solvers import SolverConfig


def _model(card) -> ss.Model:
    denoiser = ss.FunctionDenoiser(lambda t, x: 0.5 * x, ss.soft_blur((8, 8, 1)))
    return ss.Model(denoiser, None, card)


def test_classes_by_name_and_number_each_in_turn():
    card = {"num_classes": 3, "class_names": ["cat", "dog", "cow"]}
    found = sample.conditions(_model(card), ("cow", "0"), 5)
    np.testing.assert_array_equal(found, [2, 0, 2, 0, 2])
    assert sample.conditions(_model(card), (), 5) is None
    with pytest.raises(CommandError, match="numbers from 0 to 2, or cat, dog, cow"):
        sample.conditions(_model(card), ("3",), 5)
    with pytest.raises(CommandError, match="trained without classes"):
        sample.conditions(_model({}), ("cat",), 5)


def test_steps_that_adapt_have_a_solver_that_estimates_errors():
    command = sample.Sample("x", adaptive=0.01)
    options = sample.sampler_options(command, SolverConfig(clock="ode"))
    assert options["solver"] == ss.Heun("normalised")
    assert isinstance(options["times"], diffrax.PIDController)
    assert options["times"].rtol == options["times"].atol == 0.01


@pytest.mark.slow
def test_files_of_samples(run, tmp_path):
    command = sample.Sample(
        str(run),
        num=3,
        sampler=SolverConfig(steps=2),
        folder=tmp_path,
        pngs=True,
        clip=True,
    )
    picture, way, arrays, folder, record = sample.sample(command)
    assert picture.exists() and way.exists() and record.exists()
    images = np.load(arrays)["images"]
    assert images.min() >= 0 and images.max() <= 1
    found = [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]
    np.testing.assert_array_equal(found, np.round(255 * images[..., 0]))
    kept = dataclasses.replace(command, clip=False, pngs=False)
    as_drawn = np.load(sample.sample(kept)[2])["images"]
    np.testing.assert_allclose(np.clip(as_drawn, 0, 1), images, atol=1e-6)


@pytest.mark.slow
def test_a_conditional_model_is_guided_and_told_classes(tmp_path):
    folder = tmp_path / "run"
    train.train(tiny(condition=ConditionConfig(labels=True)), folder)
    card = ss.models.read_card(folder)
    assert card["num_classes"] == 10
    few = SolverConfig(steps=2)
    command = sample.Sample(str(folder), num=4, sampler=few, labels=("3", "7"))
    images = np.load(sample.sample(command)[2])
    np.testing.assert_array_equal(images["labels"], [3, 7, 3, 7])
    model = ss.load(folder)
    guided = ss.guidance.ClassifierFree(model.denoiser, 2.0)
    drawn = ss.sample(
        guided,
        prior=model.prior,
        num_samples=4,
        num_steps=2,
        condition=np.array([3, 7, 3, 7], np.int32),
        key=jax.random.key(0),
    )
    stronger = dataclasses.replace(command, guidance=2.0)
    images = np.load(sample.sample(stronger)[2])["images"]
    np.testing.assert_allclose(images, drawn.x, atol=1e-5)


def _report(folder: Path, name: str, distance: float, space: str) -> None:
    samples = {"frechet_distance": distance, "precision": 0.5}
    content = {"samples": samples, "space": space, "num": 40}
    path = folder / "evaluation" / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.mark.slow
def test_runs_are_compared_in_one_table_and_two_pictures(run, tmp_path, monkeypatch):

    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        shutil.copytree(run, tmp_path / name)
    _report(Path("a"), "ddim_8_steps", 3.25, "pixels")
    _report(Path("a"), "heun_8_steps", 2.5, "a classifier")
    command = compare.Compare(("a", "b"), num=2, folder=Path("out"))
    paths, text = compare.compare(command)
    lines = text.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:5]] == ["| a", "| a", "| b"]
    assert "| ddim_8_steps | 40 | 3.25 | 0.5 |" in text
    assert "not measured" in lines[4] and "cannot be compared" in text
    assert {path.name for path in paths} == {
        "comparison.md",
        "comparison.json",
        "losses.png",
        "samples.png",
    }
    rows = json.loads((Path("out") / "comparison.json").read_text())
    assert [row["process"] for row in rows] == ["soft_blur"] * 3
    # Two rows of two 8x8 images, seven times their size, three pixels around.
    with Image.open("out/samples.png") as picture:
        assert picture.width == 2 * (8 * 7 + 3) + 3


def test_the_list_of_commands_names_each(capsys):
    __main__.main()
    printed = capsys.readouterr().out
    folder = Path(__main__.__file__).parent
    for path in folder.glob("[!_]*.py"):
        assert f"  {path.stem} " in printed
    assert "Train a model" in printed


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
    """They come from one program if all fit into a batch, else from their own."""
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

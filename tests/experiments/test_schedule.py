"""The command that chooses a schedule: what it writes, and that it is the library's."""

import json
import shlex
import sys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import softsde as ss
from experiments import _build, _corruptions, schedule, train
from experiments._presets import PRESETS
from experiments.schedule import Schedule


@pytest.mark.slow
def test_it_writes_what_training_would_choose(tmp_path, capsys):
    config = PRESETS["digits_blur"].config
    command = Schedule("digits", last_level=5.0, folder=tmp_path)
    paths = schedule.schedule(command)
    assert "1,500 images of (8, 8, 1) at 256 levels" in capsys.readouterr().out
    source = _build.make_source(config.data)
    expected = _build.Parts(config, source).process().levels
    written = ss.schedules.load(paths[0])
    np.testing.assert_array_equal(written.times, expected.times)
    np.testing.assert_array_equal(written.levels, expected.levels)

    # The distances are those that the path was chosen by.
    with np.load(tmp_path / "distances.npz") as file:
        steps = file["distances"][file["path"][:-1], file["path"][1:]]
        chosen = file["levels"][file["path"]]
    np.testing.assert_allclose(chosen, written.levels, rtol=1e-6)
    told = ss.schedules.provenance(paths[0])
    assert told["epsilon"] == pytest.approx(steps.max())
    assert told["length"] == pytest.approx(steps.sum())
    assert (told["images"], told["of"]) == (1500, 1500)
    assert (told["metric"], told["kind"]) == ("brenier", "upper bound")
    for path in paths:
        if path.suffix == ".png":
            with Image.open(path) as picture:
                assert np.array(picture).std() > 0
    assert {path.name for path in paths} == {p.name for p in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_command_in_the_file_asks_for_the_same(tmp_path, monkeypatch):
    command = Schedule(
        "digits",
        corruption="heat_blur",
        images=40,
        num_levels=12,
        num_points=5,
        last_level=3.0,
        folder=tmp_path / "a",
    )
    first = schedule.schedule(command)[0]
    words = shlex.split(ss.schedules.provenance(first)["command"])
    assert words[:3] == ["python", "-m", "experiments.schedule"]
    monkeypatch.setattr(sys, "argv", [*words[2:], "--folder", str(tmp_path / "b")])
    schedule.main()
    assert json.loads(first.read_text()) == json.loads(
        (tmp_path / "b" / "levels.json").read_text()
    )
    assert ss.schedules.provenance(first)["kind"] == "exact"


#: Families that can be made without options, and are no scaling by the noise's rule.
FAMILIES = [
    "CenterMask",
    "Desaturate",
    "Downsample",
    "Fade",
    "GaussianBlur",
    "HeatBlur",
    "MotionBlur",
    "RandomMask",
    "SoftMask",
    "Compose(GaussianBlur, MotionBlur)",
]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_levels_from_nothing_on(name):
    shape = (8, 8, 3)
    corruption = _corruptions.make(name, shape)
    levels = _corruptions.candidates(corruption, shape, 9)
    x = jnp.asarray(np.random.default_rng(0).uniform(size=shape), jnp.float32)
    np.testing.assert_allclose(corruption.apply(float(levels[0]), x), x, atol=1e-3)
    moved = [
        np.linalg.norm(corruption.apply(float(levels[i]), x) - x) for i in (2, 5, 8)
    ]
    assert moved[0] <= moved[1] <= moved[2] and moved[2] > 0.1
    low, high = corruption.structure.level_range
    assert low is None or levels[0] >= low
    assert high is None or levels[-1] <= high


def test_the_last_blur_is_the_paper_s_at_its_size():
    blur = ss.corruptions.GaussianBlur((32, 32, 3))
    assert _corruptions.candidates(blur, (32, 32, 3), 256)[-1] == pytest.approx(18.0)


@pytest.mark.slow
def test_its_levels_are_what_training_takes(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = "x --data digits --images 40 --num-levels 12 --num-points 5"
    for corruption in ("gaussian_blur", "soft_mask"):
        more = f" --corruption {corruption} --levels-out {corruption}.json"
        monkeypatch.setattr(sys, "argv", (words + more).split())
        schedule.main()
        line = capsys.readouterr().out.split("Next:\n")[1].splitlines()[0]
        command = shlex.split(line)
        assert command[:3] == ["python", "-m", "experiments.train"]
        config, *_ = train.read(command[3:])
        process = _build.Parts(config, ss.data.digits()).process()
        written = ss.schedules.load(f"{corruption}.json")
        np.testing.assert_array_equal(process.levels.levels, written.levels)
        kind = _corruptions.make_name(corruption)
        assert type(process.corruption).__name__ == kind
        assert float(process.sigma(1.0)) == pytest.approx(0.1)

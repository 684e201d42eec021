"""Schedules that come with the package are what they say they are."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.schedules import (
    Geometric,
    PiecewiseLinear,
    load,
    provenance,
    shipped,
    shipped_names,
    transport_schedule,
)

NAMES = ["digits_blur", "fashion_mnist_blur", "mnist_blur"]


def test_these_are_shipped():
    assert shipped_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_says_what_it_was_computed_from(name):
    told, schedule = provenance(name), shipped(name)
    assert isinstance(schedule, PiecewiseLinear)
    assert told["data"] == name.removesuffix("_blur")
    assert told["command"].startswith("python -m experiments.schedule --data")
    levels = np.asarray(schedule.levels)
    assert len(levels) == told["num_points"]
    np.testing.assert_allclose(levels[[0, -1]], told["candidates"], rtol=1e-6)
    assert float(schedule(told["start"])) == pytest.approx(levels[0])
    assert float(schedule(1.0)) == pytest.approx(levels[-1])
    # So many steps, none longer than epsilon, make up the length.
    assert told["length"] <= (told["num_points"] - 1) * told["epsilon"]
    assert told["length"] > 0.8 * (told["num_points"] - 1) * told["epsilon"]
    # It fits the paper's process for images of that shape.
    process = ss.soft_blur(tuple(told["shape"]), levels=schedule)
    assert float(process.level(jnp.array(1.0))) == pytest.approx(levels[-1])


def test_the_digits_are_computed_anew_to_the_same(tmp_path):
    told = provenance("digits_blur")
    images = ss.data.to_array(ss.data.digits(), limit=told["images"])
    found = transport_schedule(
        ss.corruptions.GaussianBlur(tuple(told["shape"])),
        np.geomspace(*told["candidates"], told["num_candidates"]),
        images,
        num_points=told["num_points"],
        start=told["start"],
    )
    np.testing.assert_allclose(
        found.schedule.levels, shipped("digits_blur").levels, rtol=1e-6
    )
    assert found.epsilon == pytest.approx(told["epsilon"], rel=1e-5)


def test_a_file_keeps_its_provenance(tmp_path):
    path = tmp_path / "levels.json"
    schedule = Geometric(0.1, 2.0)
    schedule.save(path, provenance={"data": "none", "images": 0})
    assert provenance(path) == {"data": "none", "images": 0}
    assert load(path).to_dict() == schedule.to_dict()
    schedule.save(path)
    assert provenance(path) == {}
    assert "provenance" not in json.loads(path.read_text())


def test_mistakes_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"there are: digits_blur.*Did you mean 'mn"):
        shipped("mnist")
    with pytest.raises(FileNotFoundError):
        provenance(tmp_path / "nothing.json")
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(ValueError, match=r"does not hold a schedule.*got list"):
        provenance(tmp_path / "list.json")

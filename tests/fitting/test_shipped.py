"""Schedules that come with the package against their provenance."""

import jax.numpy as jnp
import numpy as np
import pytest

import softsde as ss
from softsde.fitting import provenance, shipped, shipped_names, transport_schedule
from softsde.schedules import PiecewiseLinear

NAMES = ["digits_blur", "fashion_mnist_blur", "mnist_blur"]


def test_these_are_shipped():
    assert shipped_names() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_provenance_fits_the_schedule(name):
    told, schedule = provenance(name), shipped(name)
    assert isinstance(schedule, PiecewiseLinear)
    assert told["data"] == name.removesuffix("_blur")
    assert told["command"].startswith("python -m experiments.schedule --data")
    levels = np.asarray(schedule.levels)
    assert len(levels) == told["num_points"]
    np.testing.assert_allclose(levels[[0, -1]], told["candidates"], rtol=1e-6)
    assert float(schedule(told["start"])) == pytest.approx(levels[0])
    assert float(schedule(1.0)) == pytest.approx(levels[-1])
    # The length is the sum of the steps, none of which is longer than epsilon.
    assert told["length"] <= (told["num_points"] - 1) * told["epsilon"]
    assert told["length"] > 0.8 * (told["num_points"] - 1) * told["epsilon"]
    # The schedule fits the paper's process for images of that shape.
    process = ss.soft_blur(tuple(told["shape"]), levels=schedule)
    assert float(process.level(jnp.array(1.0))) == pytest.approx(levels[-1])


def test_the_digits_can_be_computed_again():
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


def test_mistakes_are_named():
    for read in (shipped, provenance):
        with pytest.raises(ValueError, match=r"there are: digits.*Did you mean 'mn"):
            read("mnist")

"""All meshes of eight devices, in a process of its own that has them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

MESHES = ("8x1", "1x8", "4x2", "2x4")


@pytest.fixture(scope="module")
def found():
    """Runs `eight_devices.py`: its measurements, by mesh."""
    here = pathlib.Path(__file__).parent
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, str(here / "eight_devices.py")],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_trains_as_one_device(found, mesh):
    """20 steps of a UNet with dropout and flips: losses to 1e-4 of themselves.

    Adam divides by the root of a gradient's mean square, so where a gradient vanishes
    its rounding is amplified: parameters agree to 2e-4 in units where a step is 1e-3.
    """
    row = found[mesh]
    assert row["loss"] < 1e-4
    assert row["parameters"] < 2e-4
    assert row["averages"] < 2e-4


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_samples_are_those_of_one_device(found, mesh):
    assert found[mesh]["samples"] < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_the_state_is_shared_out(found, mesh):
    """Memory of the state on one device, by the compiler's analysis."""
    fsdp = int(mesh.split("x")[1])
    share = found["1"]["memory"] / fsdp
    assert abs(found[mesh]["memory"] / share - 1) < 0.15


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_what_the_devices_exchange(found, mesh):
    counts = found[mesh]["collectives"]
    if mesh == "8x1":
        assert counts["all-gather"] == counts["reduce-scatter"] == 0
        assert counts["all-reduce"] >= 1
    else:
        assert counts["all-gather"] > 0
        assert counts["reduce-scatter"] + counts["all-reduce"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("mesh", MESHES)
def test_a_run_goes_on_upon_another_mesh(found, mesh):
    """Saved after 10 steps on one device, and made to the end on this mesh."""
    assert found[mesh]["resumed"] < 2e-4

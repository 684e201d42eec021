"""The wheel brings the models with it, and draws the same from any directory."""

import os
import pathlib
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from test_model import make_model

from softsde import models

ROOT = pathlib.Path(__file__).parents[2]

PROGRAM = """
import pathlib, sys
import numpy as np
import softsde as ss
site, folder, out = map(pathlib.Path, sys.argv[1:])
assert pathlib.Path(ss.__file__).is_relative_to(site), ss.__file__
assert not list(pathlib.Path().iterdir())
np.save(out / "shipped.npy", ss.load("fashion_mnist_blur").sample(2, steps=2))
np.save(out / "mine.npy", ss.load(folder).sample(3, steps=4, seed=5))
classifier = ss.models.load_network("classifier_fashion_mnist")
np.save(out / "weights.npy", classifier.head.weight)
"""


@pytest.mark.slow
def test_the_installed_wheel_draws_bit_identical_samples(tmp_path):
    python = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    wheels, site = tmp_path / "wheels", tmp_path / "site"
    build = ["wheel", "--no-build-isolation", *offline, "--wheel-dir", str(wheels)]
    subprocess.run([*python, *build, str(ROOT)], check=True)
    (wheel,) = wheels.glob("softsde-*.whl")
    inside = zipfile.ZipFile(wheel).namelist()
    for name in ("fashion_mnist_blur/model", "classifier_fashion_mnist/network"):
        for suffix in ("json", "safetensors"):
            assert f"softsde/models/shipped/{name}.{suffix}" in inside
    install = ["install", *offline, "--target", str(site)]
    subprocess.run([*python, *install, str(wheel)], check=True)

    # Saved here, then moved to another place.
    model = make_model()
    model.save(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "moved")
    (tmp_path / "empty").mkdir()
    (tmp_path / "out").mkdir()
    subprocess.run(
        [sys.executable, "-c", PROGRAM, site, tmp_path / "moved", tmp_path / "out"],
        cwd=tmp_path / "empty",
        env={**os.environ, "PYTHONPATH": str(site), "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    shipped = models.load("fashion_mnist_blur").sample(2, steps=2)
    assert np.array_equal(np.load(tmp_path / "out" / "shipped.npy"), shipped)
    mine = model.sample(3, steps=4, seed=5)
    assert np.array_equal(np.load(tmp_path / "out" / "mine.npy"), mine)
    weights = models.load_network("classifier_fashion_mnist").head.weight
    assert np.array_equal(np.load(tmp_path / "out" / "weights.npy"), weights)

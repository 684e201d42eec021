"""The first hour of a user: docs/first-run.md, and every command under `Next:`."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def _environment(folder):
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "SOFTSDE_CACHE": str(folder / "cache"),
    }


class Hour:
    """Runs commands as they are typed, and collects what they say to run next."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.next: list[str] = []
        self.ran: set[str] = set()

    def words(self, line: str) -> list[str]:
        words = shlex.split(line)
        assert words[:2] == ["python", "-m"], line
        return [sys.executable, *words[1:]]

    def __call__(self, line: str, code: int = 0) -> str:
        done = subprocess.run(
            self.words(line),
            cwd=self.folder,
            env=_environment(self.folder),
            capture_output=True,
            text=True,
            timeout=1200,
        )
        assert done.returncode == code, f"{line}\n{done.stdout}\n{done.stderr}"
        self.ran.add(line)
        self.next += next_lines(done.stdout)
        return done.stdout + done.stderr


def next_lines(text: str) -> list[str]:
    """The commands under `Next:`."""
    _, _, after = text.partition("Next:\n")
    return [line.strip() for line in after.splitlines() if line.startswith("  python")]


def _pictures(folder: Path) -> None:
    """600 patches of two photographs: scikit-image's if it is there, else others."""
    from PIL import Image

    try:
        from skimage import data

        photographs = {"coffee": data.coffee(), "astronaut": data.astronaut()}
    except ImportError:
        from sklearn.datasets import load_sample_images

        images = load_sample_images().images
        photographs = {"china": images[0], "flower": images[1]}
    rng = np.random.default_rng(0)
    for name, photograph in photographs.items():
        (folder / name).mkdir(parents=True)
        height, width, _ = photograph.shape
        for i in range(300):
            top, left = rng.integers(height - 64), rng.integers(width - 64)
            patch = Image.fromarray(photograph[top : top + 64, left : left + 64])
            patch.save(folder / name / f"{i:04d}.png")


def _example() -> str:
    """The corruption of the page."""
    text = (ROOT / "docs" / "first-run.md").read_text()
    return re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]


def test_the_first_hour(tmp_path):
    hour = Hour(tmp_path)
    listed = hour("python -m experiments")
    assert "quickstart" in listed and "compare" in listed
    hour("python -m experiments.quickstart --steps 200 --num 100")

    _pictures(tmp_path / "pictures")
    few = "--training.batch-size 16 --training.sample-every 20 --training.log-every 5"
    few += " --sampling.num 4 --sampling.steps 4"
    train = "python -m experiments.train images --data.source pictures --data.size 16"
    process = subprocess.Popen(
        hour.words(f"{train} {few} --training.steps 100000"),
        cwd=tmp_path,
        env=_environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    curve = tmp_path / "runs" / "images" / "metrics.jsonl"
    deadline = time.monotonic() + 900
    while not (curve.exists() and len(curve.read_text().splitlines()) > 5):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 130, said
    assert next_lines(said) == ["python -m experiments.train --resume runs/images"]

    reached = len(curve.read_text().splitlines()) * 5
    resume = "python -m experiments.train --resume runs/images --training.steps"
    assert "Resuming from step" in hour(f"{resume} {reached + 20}")
    hour(f"{resume} {reached + 40} --optimiser.learning-rate 0.0005")

    hour("python -m experiments.sample runs/images --num 8 --steps 4")
    sample = "python -m experiments.sample runs/images --num 8 --seed 3"
    hour(f"{sample} --solver heun --clock ode --steps 4")
    hour(f"{sample} --adaptive 0.1 --pngs")
    hour("python -m experiments.classifier pictures --size 16 --epochs 2")
    told = hour("python -m experiments.evaluate runs/images --num 40 --steps 4")
    assert "test images" in told and "a classifier of pictures" in told

    hour(
        "python -m experiments.schedule --data pictures --size 16 --images 200 "
        "--num-levels 32 --num-points 8 --corruption soft_mask --levels-out masks.json"
    )
    (tmp_path / "darken.py").write_text(_example())
    hour(
        "python -m experiments.train digits_blur --process Process "
        "--process.corruption 'darken:Darken(speed=3.0)' --process.levels "
        f"'Linear(0.0, 1.0)' --process.noise TwoPhase --folder runs/darken {few} "
        "--training.steps 40"
    )
    hour("python -m experiments.compare runs/quickstart runs/darken --num 4")

    # Every command that was named to go on with: shortened where it would take long.
    for line in dict.fromkeys(hour.next):
        if line in hour.ran:
            continue
        if ".train" in line:
            if "--resume" in line:
                continue  # Tried above, with other numbers of steps.
            line = f"{line} {few} --training.steps 20"
        elif ".evaluate" in line:
            line = f"{line} --num 20 --steps 4"
        elif ".samplers" in line:
            line = f"{line} --num 10 --evaluations 4"
        elif ".sample" in line:
            line = f"{line} --num 4"
        hour(line)


def test_a_second_start_compiles_nothing(tmp_path):
    hour = Hour(tmp_path)
    command = (
        "import sys, jax; missed = []; "
        "jax.monitoring.register_event_listener(lambda e, **k: missed.append(e) "
        "if e.endswith('cache_misses') else None); "
        "from experiments import train; train.main(); "
        "print('misses', len(missed))"
    )
    words = "digits_blur --training.steps 4 --training.sample-every 4 --sampling.num 4"
    words += " --network.base-channels 8 --process.levels None"

    def misses(folder):
        done = subprocess.run(
            [sys.executable, "-c", command, *words.split(), "--folder", folder],
            cwd=tmp_path,
            env=_environment(hour.folder),
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        return int(re.findall(r"misses (\d+)", done.stdout)[0])

    assert misses("a") > 0
    assert misses("b") == 0

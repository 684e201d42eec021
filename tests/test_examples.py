"""The scripts of the docs run, and write the pictures that their pages show."""

import pathlib
import re
import subprocess
import sys

import matplotlib.image
import pytest

ROOT = pathlib.Path(__file__).parents[1]
EXAMPLES = {
    "class_conditional": ["--steps", "3", "--num", "20"],
    "own_corruption": ["--steps", "5", "--num", "4"],
    "learned_blur": ["--steps", "3"],
}
# Those that draw one picture, where they are told to: name to the picture of the page.
ONE_PICTURE = {"mixture": "mixture.png", "schedule": "schedule_comparison.png"}


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, str(ROOT / "docs" / script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


def pictures_of(page: str, folder: str) -> set[str]:
    text = (ROOT / "docs" / page).read_text()
    return set(re.findall(rf"_static/{folder}/([\w.]+)", text))


def test_every_example_is_here():
    scripts = {path.stem for path in (ROOT / "docs" / "examples").glob("*.py")}
    assert scripts == {*EXAMPLES, *ONE_PICTURE}


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_example_draws_the_pictures_of_its_page(name, tmp_path):
    run(f"examples/{name}.py", *EXAMPLES[name], "--folder", str(tmp_path))
    shown = pictures_of(f"examples/{name}.md", name)
    assert shown == {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_PICTURE)
def test_example_draws_the_picture_of_its_page(name, tmp_path):
    kept = ROOT / "docs" / "_static" / ONE_PICTURE[name]
    assert kept.name in (ROOT / "docs" / "examples" / f"{name}.md").read_text()
    drawn = tmp_path / kept.name
    run(f"examples/{name}.py", str(drawn))
    size = lambda path: matplotlib.image.imread(path).shape
    assert size(drawn) == size(kept)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["corruptions", "schedules"])
def test_figures_are_those_of_the_page(name, tmp_path):
    run(f"figures/{name}.py", "--folder", str(tmp_path))
    shown = pictures_of(f"{name}.md", name)
    assert shown == {path.name for path in tmp_path.iterdir()}
    kept = ROOT / "docs" / "_static" / name
    assert shown == {path.name for path in kept.iterdir()}


@pytest.mark.slow
def test_gradient_descent_finds_a_better_blur(tmp_path):
    said = run("examples/learned_blur.py", "--steps", "15", "--folder", str(tmp_path))
    before, after = re.search(r"([\d.]+) before, ([\d.]+) after", said).groups()
    assert float(after) < 0.9 * float(before)

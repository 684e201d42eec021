"""A small model for each family of corruption and each classical process, by commands.

    python docs/figures/families.py

Each model is trained on scikit-learn's 8x8 digits by `python -m experiments.train`, and
measured by `python -m experiments.evaluate` with the features of a classifier that
`python -m experiments.classifier digits` trains. Prints a table. A model that is there
already is not trained again.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]

#: For each row of the table: its name, and the options of `experiments.train`.
NOISE = ["--process.noise", "TwoPhase(0.01, 0.1, 0.2)"]


def _of(corruption: str, levels: str) -> list[str]:
    """A corruption with the paper's noise."""
    words = ["--process", "Process", "--process.corruption", corruption]
    return [*words, "--process.levels", levels, *NOISE]


FAMILIES: dict[str, list[str]] = {
    "Gaussian blur": [],
    "motion blur": _of("MotionBlur(angle=0.5)", "Linear(0.0, 4.0)"),
    "soft mask": ["--process", "soft_mask"],
    "random mask": _of("RandomMask", "Linear(0.0, 1.0)"),
    "down-sampling": _of("Downsample", "Linear(1.0, 4.0)"),
    "blur and fade": _of("Compose(GaussianBlur, Fade)", "Linear(0.0, 0.95)"),
    "heat dissipation": ["--process", "heat_dissipation", "--process.max-blur", "4"],
    "blurring diffusion": ["--process", "blurring_diffusion"],
    "VE": ["--process", "ve", "--process.sigma-max", "10"],
    "VP": ["--process", "vp"],
    "EDM": [
        *["--process", "edm", "--process.sigma-max", "10", "--times", "log_normal"],
        *["--loss", "CleanPrediction(weight=EDMWeight(0.35))"],
        *["--parametrisation", "EDM(sigma_data=0.35)"],
    ],
    "rectified flow": ["--process", "rectified_flow", "--loss", "VelocityMatching"],
    "cold diffusion (blur)": [
        *["--process", "cold", "--process.corruption", "GaussianBlur"],
        *["--process.levels", "Linear(0.0, 3.0)", "--process.sigma", "0.02"],
        *["--loss", "CleanPrediction"],
    ],
}


def slug(name: str) -> str:
    """A name as a folder."""
    return "".join(c if c.isalnum() else "_" for c in name.lower()).strip("_")


def run(module: str, *words: str) -> float:
    """Runs a command, and returns its seconds."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", module, *words],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=ROOT,
        env={**os.environ},
    )
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num", type=int, default=297)
    parser.add_argument("--folder", type=pathlib.Path, default="runs/families")
    chosen = parser.parse_args()
    print("| family | options of `train digits_blur` | Frechet distance | training |")
    print("| --- | --- | --- | --- |")
    if not (ROOT / "runs" / "classifier_digits").exists():
        run("experiments.classifier", "digits")
    reference = None
    for name, words in FAMILIES.items():
        folder = chosen.folder.absolute() / slug(name)
        timing = folder / "seconds.json"
        if not timing.exists():
            seconds = run(
                "experiments.train",
                "digits_blur",
                *words,
                *["--training.steps", str(chosen.steps), "--folder", str(folder)],
                *["--training.sample-every", str(chosen.steps)],
                *["--training.batch-size", str(chosen.batch_size)],
            )
            timing.write_text(json.dumps(seconds))
        found = sorted((folder / "evaluation").glob("*.json"))
        if not found:
            run("experiments.evaluate", str(folder), "--num", str(chosen.num))
            found = sorted((folder / "evaluation").glob("*.json"))
        report = json.loads(found[-1].read_text())
        distance = report["samples"]["frechet_distance"]
        reference = report["held_out"]["frechet_distance"]
        options = " ".join(f"'{w}'" if " " in w or "(" in w else w for w in words)
        seconds = json.loads(timing.read_text())
        print(
            f"| {name} | `{options or '(none)'}` | {distance:.2f} | {seconds:.0f} s |",
            flush=True,
        )
    print(f"| test images | | {reference:.2f} | |")


if __name__ == "__main__":
    main()

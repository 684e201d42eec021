"""Draws the distance of small networks against the time of their training.

    python docs/figures/small_networks.py "plain:1.00:runs/short,runs/long" \
        "told:1.00:runs/told"

Each word is a name, the speed of its training steps against those of the first
(`python benchmarks/small_networks.py` measures it), and run folders that
`experiments.evaluate` has measured. Runs with the same number of steps are one point:
their mean and range.
"""

import argparse
import json
from pathlib import Path

import matplotlib.figure
import numpy as np
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

#: Times of training, and the distances after them.
Curve = tuple[np.ndarray, np.ndarray]

FILE = Path(__file__).parents[1] / "_static" / "small_networks.png"


def measured(folder: Path) -> tuple[int, float]:
    """The steps of a run, and the distance of its samples."""
    found = list((folder / "evaluation").glob("default_*_seed0.json"))
    if len(found) != 1:
        raise SystemExit(
            f"{folder} has {len(found)} evaluations and should have one; run "
            f"`python -m experiments.evaluate {folder} --num 1000`."
        )
    report = json.loads(found[0].read_text())
    return report["model"]["steps"], report["samples"]["frechet_distance"]


def print_speeds(first: Curve, other: Curve) -> None:
    """Prints how many times as fast the other is at each distance of the first.

    Logarithms are interpolated, and nothing is said outside of what was measured.
    """
    (times, means), (other_times, other_means) = first, other
    for time, mean in zip(times, means, strict=True):
        if other_means.min() <= mean <= other_means.max():
            # Distances fall with time, and `np.interp` wants them to rise.
            log_time = np.interp(
                np.log(mean), np.log(other_means[::-1]), np.log(other_times[::-1])
            )
            speed = time / np.exp(log_time)
            print(f"    at {mean:6.1f} trains {speed:.2f} times as fast")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lines", nargs="+", metavar="NAME:SPEED:RUN,RUN,...")
    figure = matplotlib.figure.Figure(figsize=(7.0, 4.0), dpi=140)
    axes = figure.add_subplot()
    first = None
    for line in parser.parse_args().lines:
        name, speed, folders = line.split(":")
        by_steps: dict[int, list[float]] = {}
        for folder in folders.split(","):
            steps, distance = measured(Path(folder))
            by_steps.setdefault(steps, []).append(distance)
        steps = sorted(by_steps)
        times = np.array(steps) / float(speed)
        means = np.array([np.mean(by_steps[n]) for n in steps])
        ends = np.array([(min(by_steps[n]), max(by_steps[n])) for n in steps]).T
        bars = np.abs(ends - means)
        axes.errorbar(times, means, bars, marker="o", capsize=3, label=name)
        for n, time, mean in zip(steps, times, means, strict=True):
            print(f"{name:40} {n:6} steps, time {time:6.0f}: distance {mean:6.1f}")
        if first is None:
            first = times, means
        else:
            print_speeds(first, (times, means))
    axes.set(
        xlabel="training time, in steps of the first network",
        ylabel="Fréchet distance of the samples",
        xscale="log",
        yscale="log",
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 6, 8)))
        axis.set_major_formatter(ScalarFormatter())
        axis.set_minor_locator(NullLocator())
    axes.margins(y=0.1)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    figure.savefig(FILE, bbox_inches="tight")
    print(f"Wrote {FILE}")


if __name__ == "__main__":
    main()

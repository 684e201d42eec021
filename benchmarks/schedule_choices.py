"""Prints the numbers of docs/choosing-a-schedule.md: last level, noise, joint paths.

    python benchmarks/schedule_choices.py digits mnist fashion_mnist

Minutes for the larger data sets, seconds for the digits.
"""

import sys

import jax
import numpy as np

import softsde as ss


def report(name: str) -> None:
    source = ss.data.load(name)
    images = ss.data.to_array(source, limit=3000)
    side = images.shape[1]

    largest = ss.fitting.largest_distance(ss.data.to_array(source))
    print(f"{name}: largest distance {largest.distance:.1f} of {len(source):,} images")

    blur = ss.corruptions.GaussianBlur(images.shape[1:])
    levels = np.geomspace(0.5, 30.0 if side > 8 else 10.0, 12)
    for sigma in (0.1, 0.5):
        end = ss.fitting.final_level(
            blur, levels, images, sigma=sigma, key=jax.random.key(0)
        )
        print(f"  noise {sigma}: final level {end.level}")
        print("    level     ", *(f"{value:7.3g}" for value in levels))
        print("    departure ", *(f"{value:7.4f}" for value in end.departures))
        print("    threshold ", *(f"{value:7.4f}" for value in end.thresholds))
        print("    directions", *(f"{value:7d}" for value in end.ranks))

    heat = ss.corruptions.HeatBlur(images.shape[1:])
    for metric in ("gaussian", "coupling"):
        joint = ss.fitting.joint_schedule(
            heat,
            np.geomspace(0.1, 18.0 if side > 8 else 4.5, 64),
            np.linspace(0.01, 0.5, 32),
            images[:2000] if len(images) < 2000 else ss.data.to_array(source, 2000),
            metric=metric,
        )
        print(
            f"  joint, {metric}: length {joint.steps.sum():.1f}, steps "
            f"{joint.steps.min():.3f} to {joint.epsilon:.3f}"
        )


if __name__ == "__main__":
    for data_set in sys.argv[1:] or ["digits"]:
        report(data_set)

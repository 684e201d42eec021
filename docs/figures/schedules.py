"""Draws the curves of the page on schedules.

    python docs/figures/schedules.py

Writes `docs/_static/schedules/*.png`.
"""

import argparse
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

import softsde as ss

HERE = pathlib.Path(__file__).parent

NOISE = {
    "EDM()": ss.schedules.EDM(),
    "Geometric(0.01, 50)": ss.schedules.Geometric(0.01, 50.0),
    "VP()": ss.schedules.VP(),
    "SubVP()": ss.schedules.SubVP(),
    "CosineVP()": ss.schedules.CosineVP(),
    "Linear(0, 1)": ss.schedules.Linear(0.0, 1.0),
    "TwoPhase()": ss.schedules.TwoPhase(),
    "Constant(0.02)": ss.schedules.Constant(0.02),
}

LEVELS = {
    "Linear(0, 1)": ss.schedules.Linear(0.0, 1.0),
    "Cosine(0, 1)": ss.schedules.Cosine(0.0, 1.0),
    "Sigmoid(0, 1)": ss.schedules.Sigmoid(0.0, 1.0),
    "VPSignal()": ss.schedules.VPSignal(),
    "CosineVPSignal()": ss.schedules.CosineVPSignal(),
    "VPSignal(), warped by Cosine": ss.schedules.TimeWarp(
        ss.schedules.VPSignal(), ss.schedules.Cosine(0.0, 1.0)
    ),
    "PiecewiseLinear(...)": ss.schedules.PiecewiseLinear(
        [0.2, 0.6, 1.0], [0.0, 0.1, 1.0]
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--folder", type=pathlib.Path, default=HERE.parent / "_static" / "schedules"
    )
    options = parser.parse_args()
    # A logarithmic axis cannot show 0, where some schedules have no noise.
    times = np.linspace(0.002, 1.0, 500, dtype=np.float32)
    pictures = {"noise": (NOISE, "noise", True), "levels": (LEVELS, "level", False)}
    for name, (schedules, label, logarithmic) in pictures.items():
        curves = {
            title: np.asarray(jax.vmap(schedule)(jnp.asarray(times)))
            for title, schedule in schedules.items()
        }
        path = options.folder / f"{name}.png"
        ss.plotting.plot_curves(
            times, curves, path, y_label=label, logarithmic=logarithmic
        )
        print(path)
    sequences = ("geometric", "affine", "cosine", "sigmoid")
    path = options.folder / "sequences.png"
    ss.plotting.plot_curves(
        np.arange(200.0),
        {name: np.asarray(ss.schedules.noise_sequence(name)) for name in sequences},
        path,
        x_label="index",
        y_label="noise",
        logarithmic=True,
    )
    print(path)


if __name__ == "__main__":
    main()

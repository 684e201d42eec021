"""The figure and the numbers of docs/memorisation.md:

    SOFTSDE_DATA=/folder/of/data python docs/figures/memorisation.py --runs runs

One network, trained alike on 100, 1,000 and 10,000 MNIST digits; for each, the distance
of its denoiser to the empirical oracle of its training digits, and to that of as many
others. It goes on where it was stopped, if it is called again with the same folder.
"""

import argparse
import json
import pathlib

import jax
import numpy as np

import softsde as ss
from softsde._files import write_json
from softsde.plotting import new_figure, save_figure

OUT = pathlib.Path(__file__).parents[1] / "_static" / "memorisation.png"
SIZES = (100, 1000, 10_000)
SHAPE = (14, 14, 1)
BATCH = 128
#: Noise of the curve's times, in units of the pixels' range.
NOISE = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.4, 2.0, 4.0)

POINTS = 64
#: Swaps for each number of digits; they cost as much as there are digits.
PERMUTATIONS = {100: 99, 1000: 99, 10_000: 19}
STEPS = 2000
COLOURS = ("#d1495b", "#b59f3b", "#1b4f8a")

process = ss.edm(0.02, 10.0)


class Draws:
    """Batches of `images`, drawn with replacement; the position is a number."""

    def __init__(self, images: np.ndarray):
        self.images = images
        self.position = 0

    def __iter__(self):
        return self

    def __next__(self):
        generator = np.random.default_rng((7, self.position))
        self.position += 1
        return {"image": self.images[generator.integers(len(self.images), size=BATCH)]}

    def get_state(self):
        return self.position

    def set_state(self, state):
        self.position = state


def digits() -> np.ndarray:
    """MNIST in a fixed random order, 2x2 pixels averaged, in [-1, 1]."""
    images = ss.data.to_array(ss.data.mnist())
    images = images[np.random.default_rng(0).permutation(len(images))]
    return 2 * images.reshape(-1, 14, 2, 14, 2, 1).mean((2, 4)) - 1


def train(images: np.ndarray, folder: pathlib.Path, steps: int) -> ss.Denoiser:
    """The averaged denoiser after `steps` steps on `images`."""
    network = ss.nn.MLP(SHAPE, width=256, depth=3, key=jax.random.key(0))
    denoiser = ss.Denoiser(network, process)
    optimiser = ss.train.make_optimiser(1e-3, warmup_steps=100)
    loss_fn = ss.losses.on_batches(
        ss.losses.CleanPrediction(ss.losses.EDMWeight()),
        times=ss.losses.LogNormalTimes(mean=-0.7, std=1.0),
    )
    step = ss.train.make_train_step(loss_fn, optimiser, ema_decay=0.998)
    state = ss.train.TrainState.create(denoiser, optimiser, key=jax.random.key(1))
    result = ss.train.fit(
        state,
        Draws(images),
        step,
        num_steps=steps,
        folder=folder,
        checkpoint_every=500,
        keep=1,
    )
    return result.state.ema


def curve_of(size: int, denoiser: ss.Denoiser, images: np.ndarray) -> dict:
    """The curve of a denoiser trained on the first `size` images, as plain numbers."""
    curve = ss.metrics.memorisation_curve(
        denoiser,
        images[:size],
        images[-size:],
        [float(process.noise.inverse(sigma)) for sigma in NOISE],
        reference=images[10_000:30_000],
        num_points=POINTS,
        num_permutations=PERMUTATIONS[size],
        key=jax.random.key(2),
    )
    fields = curve._asdict().items()
    return {name: np.asarray(value).tolist() for name, value in fields}


def draw(curves: dict[int, dict]) -> None:
    """Distances of the networks, and how far each copies."""
    figure = new_figure(10.0, 4.0)
    left, right = figure.subplots(1, 2)
    for colour, (size, curve) in zip(COLOURS, sorted(curves.items()), strict=False):
        training, held_out = (
            np.array(curve[k]) for k in ("to_training", "to_held_out")
        )
        left.plot(NOISE, training, color=colour, label=f"{size:,} digits")
        left.plot(NOISE, held_out, color=colour, linestyle="--")
        right.plot(NOISE, 1 - training / held_out, color=colour)
        found = np.array(curve["adjusted"]) <= 0.05
        right.plot(
            np.array(NOISE)[found],
            (1 - training / held_out)[found],
            "o",
            color=colour,
            markersize=5,
        )
    left.set(
        xscale="log",
        yscale="log",
        xlabel="noise (pixels are in [-1, 1])",
        ylabel="squared distance to the oracle,\nin errors of the best affine denoiser",
        title="to the training digits (solid), to others (dashed)",
    )
    right.axhline(0, color="#888888", linewidth=0.8)
    right.axhline(1, color="#888888", linewidth=0.8)
    right.set(
        xscale="log",
        xlabel="noise (pixels are in [-1, 1])",
        ylabel="copied: 1 - solid / dashed",
        title="0: no copying, 1: exact copies (dots: p at most 0.05)",
    )
    left.legend(frameon=False)
    save_figure(figure, OUT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=pathlib.Path, required=True)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--train-only", action="store_true")
    options = parser.parse_args()
    images, curves = digits(), {}
    for size in SIZES:
        folder = options.runs / str(size)
        denoiser = train(images[:size], folder, options.steps)
        if options.train_only:
            continue
        file = folder / f"curve_{options.steps}.json"
        if not file.exists():
            write_json(file, curve_of(size, denoiser, images))
        curves[size] = json.loads(file.read_text())
    if options.train_only:
        return
    draw(curves)
    print("| digits | " + " | ".join(f"{sigma:g}" for sigma in NOISE) + " | p |")
    for size, curve in sorted(curves.items()):
        training, held_out = (
            np.array(curve[k]) for k in ("to_training", "to_held_out")
        )
        row = " | ".join(f"{value:.2f}" for value in 1 - training / held_out)
        print(f"| {size:,} | {row} | {curve['p_value']:.3f} |")


if __name__ == "__main__":
    main()

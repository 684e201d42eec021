"""The paper's own choice of levels beside ours (docs/transport.md):

    python docs/figures/appendix_c.py --data fashion_mnist --num 2000
    python docs/figures/appendix_c.py --data FOLDER --size 32 --name "CIFAR-10, JPEG"

`FOLDER` is a folder of pictures. Both methods choose 32 of 256 levels of the paper's
blur on the same images: Appendix C as described (unpaired slices of a tenth, ott-jax's
default regularisation, epsilon tuned until the shortest path has 32 nodes), and the
even path on exact distances. Prints both, their difference, and how even the steps of
each are in exact distances; draws the picture. Some ten minutes on two cores for 2,000
images.
"""

import argparse
import pathlib
import time

import jax
import numpy as np

import softsde as ss
from softsde.plotting import new_figure, save_figure

STATIC = pathlib.Path(__file__).parents[1] / "_static"
TIMES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--name", default=None, help="as the picture calls the data")
    parser.add_argument("--size", type=int, default=None, help="of a folder's pictures")
    parser.add_argument("--num", type=int, default=2000)
    parser.add_argument("--candidates", type=int, default=256)
    parser.add_argument("--points", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    name = arguments.name or arguments.data

    source = ss.data.load(arguments.data, size=arguments.size)
    images = ss.data.to_array(source, limit=arguments.num)
    shape = images.shape[1:]
    blur = ss.corruptions.GaussianBlur(shape, 32)
    levels = np.geomspace(0.01, 18.0, arguments.candidates)
    began = time.monotonic()
    ours = ss.fitting.transport_schedule(
        blur, levels, images, num_points=arguments.points
    )
    exact_seconds = time.monotonic() - began
    began = time.monotonic()
    theirs = ss.fitting.appendix_c_schedule(
        blur,
        levels,
        images,
        num_points=arguments.points,
        metric=ss.fitting.UnpairedSinkhorn(progress=True),
        key=jax.random.key(arguments.seed),
    )
    seconds = time.monotonic() - began

    print(f"{name}: {len(images)} images of {shape}, {len(levels)} candidates")
    print(f"exact distances: {exact_seconds:.0f} s; Appendix C: {seconds:.0f} s")
    print(f"nodes of the path: ours {len(ours.path)}, Appendix C {len(theirs.path)}")
    neighbours = theirs.distances[np.arange(len(levels) - 1), np.arange(1, len(levels))]
    truth = ours.distances[np.arange(len(levels) - 1), np.arange(1, len(levels))]
    print(
        f"distances of neighbours: exact {truth.min():.3f} to {truth.max():.3f}, "
        f"Appendix C {neighbours.min():.3f} to {neighbours.max():.3f}"
    )
    print(f"{'time':>6}{'ours':>10}{'App. C':>10}{'difference':>12}")
    for t in TIMES:
        a, b = float(ours.schedule(t)), float(theirs.schedule(t))
        print(f"{t:6.1f}{a:10.3f}{b:10.3f}{b - a:12.3f}")
    grid = np.linspace(0, 1, 501)
    curves = [
        np.interp(grid, np.asarray(s.schedule.times), np.asarray(s.schedule.levels))
        for s in (ours, theirs)
    ]
    gap = np.abs(curves[1] - curves[0])
    print(f"largest difference {gap.max():.2f} pixels at time {grid[gap.argmax()]:.2f}")
    for label, found in (("ours", ours), ("Appendix C", theirs)):
        path = np.asarray(found.path)
        steps = ours.distances[path[:-1], path[1:]]
        print(
            f"{label:12} exact steps: longest {steps.max():.3f}, mean "
            f"{steps.mean():.3f}, longest over mean {steps.max() / steps.mean():.2f}, "
            f"length {steps.sum():.2f}"
        )
    slug = "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())
    out = STATIC / f"appendix_c_{slug}.png"
    draw(name, ours, theirs, out)
    print(f"wrote {out}")


def draw(name, ours, theirs, out: pathlib.Path) -> None:
    figure = new_figure(10.5, 3.8)
    left, right = figure.subplots(1, 2)
    for found, label, colour in (
        (ours, "even path, exact distances", "#00798c"),
        (theirs, "Appendix C as described", "#d1495b"),
    ):
        left.plot(
            found.schedule.times, found.schedule.levels, "o-", ms=3, lw=1.2,
            color=colour, label=label,
        )  # fmt: skip
        path = np.asarray(found.path)
        steps = ours.distances[path[:-1], path[1:]]
        right.plot(
            np.linspace(0, 1, len(steps)), steps, "o-", ms=3, lw=1.2,
            color=colour, label=label,
        )  # fmt: skip
    left.set(xlabel="time", ylabel="blur (pixels)", title=f"{name}: level over time")
    left.legend(frameon=False, fontsize=9)
    right.set(
        xlabel="place on the path",
        ylabel="exact distance of the step",
        title="how far each step moves the data",
    )
    for axes in (left, right):
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, out)


if __name__ == "__main__":
    main()

"""All transport distances in closed form, against Sinkhorn's for the same pairs.

    python benchmarks/transport.py

Uses 6,000 Fashion-MNIST images and 256 levels of the paper's blur, 0.01 to 18 pixels
(without that data set, the digits of scikit-learn, up to 5 pixels).

The closed form is timed from the images to the schedule, with and without compilation.
Sinkhorn is timed on a sample of the pairs, without compilation. The time for all pairs
is projected from it: that is the paper's whole matrix, of which a growing band computes
only a part. This is done on the same images, and on three slices of a tenth of them,
which is the default. The last line is the memory of the closed form for 60,000 images,
without the images.
"""

import argparse
import functools
import os
import threading
import time

import jax
import numpy as np

import softsde as ss


def load(limit: int) -> tuple[str, np.ndarray, float]:
    try:
        source, name, blur = ss.data.fashion_mnist(), "Fashion-MNIST", 18.0
    except FileNotFoundError:
        source, name, blur = ss.data.digits(), "digits", 5.0
    return name, ss.data.to_array(source, limit=min(limit, len(source))), blur


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def peak_memory(function) -> float:
    """Bytes by which the resident set grew at most while `function` ran."""

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    before, peak, done = resident(), 0, threading.Event()

    def watch():
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return peak - before


def main() -> None:
    parser = argparse.ArgumentParser(description="See the head of this file.")
    parser.add_argument("--images", type=int, default=6000)
    parser.add_argument("--levels", type=int, default=256)
    parser.add_argument("--pairs", type=int, default=24, help="pairs to time, slices")
    parser.add_argument("--large-pairs", type=int, default=2, help="and whole images")
    config = parser.parse_args()

    name, data, widest = load(config.images)
    levels = np.geomspace(0.01, widest, config.levels)
    blur = ss.corruptions.GaussianBlur(data.shape[1:])
    print(f"{len(data)} images of {name}, {levels.size} levels of {blur}")

    def closed():
        return ss.fitting.transport_schedule(blur, levels, data)

    first, _ = timed(closed)
    again, result = min((timed(closed) for _ in range(3)), key=lambda pair: pair[0])
    print(f"closed form, matrix and schedule   {again:10.2f} s")
    print(f"  the first time, with compilation {first:10.2f} s")

    rng = np.random.default_rng(0)
    upper = np.stack(np.triu_indices(levels.size, 1), axis=1)
    settings = (
        ("the same images", ss.fitting.Sinkhorn(1.0, 1), config.large_pairs),
        ("three slices of a tenth", ss.fitting.Sinkhorn(), config.pairs),
    )
    for what, metric, number in settings:
        size = round(metric.fraction * len(data))
        rows = [rng.choice(len(data), size, False) for _ in range(metric.num_slices)]
        slices = data[np.stack(rows)]
        nothing = np.zeros_like(slices)
        indices = upper[rng.choice(len(upper), number, replace=False)]
        pairs = levels[indices].astype(np.float32)
        zeros = np.zeros((number, metric.num_slices, 4, size), np.float32)
        solve = functools.partial(metric.squared_distances, blur)
        # Equal levels converge at once: this is compilation.
        solve(pairs[:1, [0, 0]], slices, nothing, zeros[:1])
        seconds, (found, _) = timed(
            functools.partial(solve, pairs, slices, nothing, zeros)
        )
        everything = seconds / number * len(upper)
        print(f"Sinkhorn, {what}")
        print(f"  one pair (mean of {number:2d})            {seconds / number:10.2f} s")
        print(f"  all {len(upper)} pairs, projected     {everything:10.0f} s")
        print(f"  times the closed form            {everything / again:10.0f}")
        known = result.distances[tuple(indices.T)]
        kept = known > 0.1
        apart = np.abs(np.sqrt(found) - known)[kept] / known[kept]
        print(f"  distances differ by at most      {apart.max(initial=0.0):10.1%}")

    _, many, _ = load(60_000)
    matrix = jax.tree_util.Partial(ss.fitting.transport_schedule, blur, levels, many)
    grown = peak_memory(matrix)
    seconds, _ = timed(matrix)
    print(f"{len(many)} images: {seconds:.2f} s, {grown / 2**20:.0f} MiB beside them")


if __name__ == "__main__":
    main()

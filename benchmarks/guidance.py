"""Times guided sampling against unguided, with the same network and steps.

    python benchmarks/guidance.py

Classifier-free guidance evaluates the network twice a step, so expect a ratio of 2;
within an interval of half the time, 1.5. All are compiled first, then take turns; the
ratio is of the best of the rounds. On a machine that is busy with something else, read
the processor time.
"""

import argparse
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import softsde as ss


def network(shape: tuple[int, int, int], seed: int) -> ss.nn.UNet:
    made = ss.nn.UNet(shape, num_classes=10, key=jax.random.key(seed))
    # The last layer starts at zero: any other values, so that work is done.
    weight = jnp.full_like(made.out.weight, 1e-3)
    return eqx.tree_at(lambda n: n.out.weight, made, weight)


def seconds(call: Callable[[], Array]) -> tuple[float, float]:
    """By the wall clock, and of processor time."""
    wall, processor = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - wall, time.process_time() - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=28)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    shape = (options.size, options.size, 1)
    process = ss.soft_blur(shape)
    denoiser, weaker = (ss.Denoiser(network(shape, seed), process) for seed in (0, 1))
    x1 = jax.random.uniform(jax.random.key(1), (options.samples, *shape))
    labels = jnp.arange(options.samples) % 10
    guided = ss.guidance.ClassifierFree
    denoisers = {
        "unguided": denoiser,
        "classifier-free": guided(denoiser, 2.0),
        "within (0.25, 0.75)": guided(denoiser, 2.0, interval=(0.25, 0.75)),
        "by a weaker model": ss.guidance.AutoGuidance(denoiser, weaker, 2.0),
    }

    def draw(denoiser: ss.denoisers.AbstractDenoiser) -> Array:
        return ss.sample(
            denoiser,
            x1=x1,
            condition=labels,
            num_steps=options.steps,
            key=jax.random.key(2),
        ).x

    for which in denoisers.values():
        jax.block_until_ready(draw(which))
    took = {name: [] for name in denoisers}
    for _ in range(options.rounds):
        for name, which in denoisers.items():
            took[name].append(seconds(lambda which=which: draw(which)))
    best = {name: np.min(times, axis=0) for name, times in took.items()}
    print(f"{options.samples} samples of {shape}, {options.steps} steps:")
    for name, (wall, processor) in best.items():
        ratios = wall / best["unguided"][0], processor / best["unguided"][1]
        print(
            f"  {name:20s} {wall:7.3f} s  ratio {ratios[0]:.3f}"
            f"   processor {processor:7.3f} s  ratio {ratios[1]:.3f}"
        )


if __name__ == "__main__":
    main()

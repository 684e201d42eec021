"""The cost of `sample` beside its network: against Algorithm 2 written by hand.

    python benchmarks/sampling_overhead.py

The baseline is a `lax.scan` of the paper's Algorithm 2 over the same grid with the same
network, blur and noise schedule, one jitted function, vmapped over the samples. Both
are compiled first, then take turns; the ratio is of the best of the rounds. Compile
times are of one cold compilation each.

The second comparison draws the samples in several batches. Its third row closes over
the weights, so that they are constants of the compiled program. `sample` keeps them as
arguments: one program then serves all weights, and none of them can be stale.
"""

import argparse
import time
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array

import softsde as ss


def by_hand(denoiser, x1: Array, key: Array, steps: int) -> Array:
    """Algorithm 2: `x += (C' - C) D - (v' - v) s + sqrt(v - v') z`, and a last `D`."""
    process, times = denoiser.process, jnp.linspace(1.0, 0.0, steps + 1)

    def one(x, key):
        def step(x, inputs):
            t, t_next, key = inputs
            x0_hat = denoiser(t, x)
            before, after = process.sigma(t) ** 2, process.sigma(t_next) ** 2
            corrupted = process.apply(t, x0_hat)
            score = (corrupted - x) / before
            noise = jax.random.normal(key, x.shape)
            x = x + process.apply(t_next, x0_hat) - corrupted
            x = x + (before - after) * score + jnp.sqrt(before - after) * noise
            return x, None

        keys = jax.random.split(key, steps)
        x, _ = jax.lax.scan(step, x, (times[:-1], times[1:], keys))
        return denoiser(times[-1], x)

    return jax.vmap(one)(x1, jax.random.split(key, x1.shape[0]))


def seconds(call: Callable[[], Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--batches", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    shape = (options.size, options.size, options.channels)
    process = ss.soft_blur(shape)
    network = ss.nn.UNet(
        shape, base_channels=32, channel_multipliers=(1, 2, 4), key=jax.random.key(0)
    )
    parameters = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    # The output layer starts at zero: any other values, so that work is done.
    network = eqx.tree_at(
        lambda n: n.out.weight, network, jnp.full_like(network.out.weight, 1e-3)
    )
    denoiser = ss.Denoiser(network, process)
    x1 = jax.random.uniform(jax.random.key(1), (options.samples, *shape))
    key = jax.random.key(2)
    scan = eqx.filter_jit(by_hand)

    options_ = dict(num_steps=options.steps, solver=ss.Momentum(), clock="sde", key=key)
    one = {
        "lax.scan by hand": lambda: scan(denoiser, x1, key, options.steps),
        "softsde.sample": lambda: ss.sample(denoiser, x1=x1, **options_).x,
    }
    print(
        f"{options.samples} samples of {shape}, {options.steps} steps, "
        f"{sum(p.size for p in parameters):,} parameters:"
    )
    compare(one, options.rounds)

    size = options.samples // options.batches
    print(f"\n{options.batches} batches of {size}, and weights as constants:")
    parts = jnp.split(x1, options.batches)
    constants = jax.jit(lambda part: by_hand(denoiser, part, key, options.steps))
    many = {
        "lax.scan by hand": lambda: jnp.concatenate(
            [scan(denoiser, part, key, options.steps) for part in parts]
        ),
        "softsde.sample": lambda: (
            ss.sample(denoiser, x1=x1, batch_size=size, **options_).x
        ),
        "constants by hand": lambda: jnp.concatenate(
            [constants(part) for part in parts]
        ),
    }
    compare(many, options.rounds)


def compare(calls: dict[str, Callable[[], Array]], rounds: int) -> None:
    """Prints the best time of each, and its ratio to the first."""
    first = {name: seconds(call) for name, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            best[name] = min(best[name], seconds(call))
    baseline = next(iter(calls))
    for name, took in best.items():
        compiled = first[name] - took
        print(
            f"  {name:18s} {took:7.3f} s  ratio {took / best[baseline]:.3f}"
            f"   compile {compiled:5.1f} s  ratio "
            f"{compiled / max(first[baseline] - best[baseline], 1e-9):.2f}"
        )


if __name__ == "__main__":
    main()

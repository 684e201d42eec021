"""Images per second of a training step of the UNet: a host device per core, or one.

    python benchmarks/unet_throughput.py --rounds 5

The step is forward, backward and Adam on a mean squared error, at 28x28x1. The
baseline is the same step on one device, which XLA runs on all cores. Against it: as
many host devices as cores, each single-threaded, with the batch sharded over them.
XLA reads both settings when it starts, so each has a process of its own; the two take
turns, and the best of the rounds counts, so that other work on the machine slows both
alike.
"""

import argparse
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from _settings import CORES, MANY, ONE, measure, serve_times
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from softsde.nn import UNet

FLAGS = {"one": ONE, "many": MANY}

SHAPE = (28, 28, 1)
CONFIGS: dict[str, dict] = {
    "full resolution": dict(base_channels=32, channel_multipliers=(1, 2, 4)),
    "full resolution, attention": dict(
        base_channels=32, channel_multipliers=(1, 2, 4), attention_levels=(2,)
    ),
    "2x2 patches": dict(patch_size=2, base_channels=64, channel_multipliers=(1, 2)),
}


def make_step(config: dict, batch: int) -> Callable[[], None]:
    """Compile a training step and return a thunk that runs it once."""
    mesh = Mesh(np.array(jax.devices()), ("data",))
    optimiser = optax.adam(2e-4)
    network = UNet(SHAPE, **config, key=jax.random.key(0))
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def loss_fn(params, t, x):
        prediction = jax.vmap(eqx.combine(params, static))(t, x)
        return jnp.mean((prediction - x) ** 2)

    @jax.jit
    def step(params, opt_state, t, x):
        loss, grads = jax.value_and_grad(loss_fn)(params, t, x)
        updates, opt_state = optimiser.update(grads, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, loss

    replicated = NamedSharding(mesh, PartitionSpec())
    sharded = NamedSharding(mesh, PartitionSpec("data"))
    state = jax.device_put((params, optimiser.init(params)), replicated)
    t_key, x_key = jax.random.split(jax.random.key(1))
    data = jax.device_put(
        (
            jax.random.uniform(t_key, (batch,)),
            jax.random.normal(x_key, (batch, *SHAPE)),
        ),
        sharded,
    )

    def run() -> None:
        nonlocal state
        *new, _ = step(*state, *data)
        state = jax.block_until_ready(tuple(new))

    run()
    return run


def describe(config: dict) -> tuple[float, float]:
    """Millions of parameters, and GFLOP of one forward pass of one image."""
    network = UNet(SHAPE, **config, key=jax.random.key(0))
    size = sum(p.size for p in jax.tree.leaves(eqx.filter(network, eqx.is_array)))
    # The count before compilation: a compiled CPU program hides its convolutions in
    # calls to a library.
    lowered = jax.jit(lambda t, x: network(t, x)).lower(jnp.zeros(()), jnp.zeros(SHAPE))
    flops = (lowered.cost_analysis() or {}).get("flops", float("nan"))
    return size / 1e6, flops / 1e9


def serve(batch: int) -> None:
    """Time one step of every configuration for each line of input."""
    serve_times({name: make_step(c, batch) for name, c in CONFIGS.items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.batch)

    best = measure(__file__, FLAGS, arguments.batch, arguments.rounds)
    print(
        f"{'configuration':28} {'M params':>8} {'GFLOP':>7} "
        f"{f'{CORES} devices':>10} {'1 device':>9} {'ratio':>6}"
    )
    for name, config in CONFIGS.items():
        size, gflop = describe(config)
        many, one = (arguments.batch / best[s][name] for s in ("many", "one"))
        print(
            f"{name:28} {size:8.2f} {gflop:7.3f} "
            f"{many:8.0f}/s {one:7.0f}/s {many / one:6.2f}"
        )


if __name__ == "__main__":
    main()

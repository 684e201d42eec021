"""Parameters, work, and the time of tracing and of a step of each network, on this CPU.

    python benchmarks/networks.py
    python benchmarks/networks.py --steps 3 --batch 16

A step is forward, backward and Adam on a mean squared error. The work is that of one
forward pass of one image, as XLA counts it before it compiles: one multiplication with
an addition counts twice. (It counts the body of a loop once, so there is no number for
networks that are one.) The memory is what the compiled step holds at once. `--steps 0`
skips the steps. The networks of 62 million parameters take a minute a step: only the
small ones are timed unless `--all` is given.
"""

import argparse
import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import softsde as ss

SHAPE = (32, 32, 3)
NETWORKS = {
    "UNet": lambda key: ss.nn.UNet(SHAPE, key=key),
    "NCSNpp.small": lambda key: ss.nn.NCSNpp.small(SHAPE, key=key),
    "DDPMpp.small": lambda key: ss.nn.DDPMpp.small(SHAPE, key=key),
    "EDM2UNet, narrow": lambda key: ss.nn.EDM2UNet(
        SHAPE,
        width=32,
        channel_multipliers=(1, 2, 2),
        blocks_per_level=1,
        attention_resolutions=(8,),
        head_size=32,
        key=key,
    ),
    "DiT": lambda key: ss.nn.DiT(SHAPE, scan=False, key=key),
    "DiT, a loop": lambda key: ss.nn.DiT(SHAPE, key=key),
    "NCSNpp.cifar10_continuous": lambda key: ss.nn.NCSNpp.cifar10_continuous(key=key),
    "NCSNpp.cifar10_continuous, a loop": lambda key: ss.nn.NCSNpp.cifar10_continuous(
        key=key, scan=True
    ),
    "NCSNpp.cifar10_deep": lambda key: ss.nn.NCSNpp.cifar10_deep(key=key),
    "NCSNpp.cifar10_deep, a loop": lambda key: ss.nn.NCSNpp.cifar10_deep(
        key=key, scan=True
    ),
    "NCSNpp.celeba64": lambda key: ss.nn.NCSNpp.celeba64(key=key),
    "DDPMpp.cifar10_continuous": lambda key: ss.nn.DDPMpp.cifar10_continuous(key=key),
    "SongUNet.cifar10_ddpmpp": lambda key: ss.nn.SongUNet.cifar10_ddpmpp(key=key),
    "NCSN": lambda key: ss.nn.NCSN(SHAPE, key=key),
    "NCSNv2": lambda key: ss.nn.NCSNv2(SHAPE, key=key),
    "EDM2UNet.imagenet64, S": lambda key: ss.nn.EDM2UNet.imagenet64("s", key=key),
}
# Those that train on a laptop: the ones above `NCSNpp.cifar10_continuous`.
TIMED = tuple(NETWORKS)[:6]
OPTIMISER = optax.adam(2e-4)


def train_step(weights, state, t, x, static):
    def loss(weights):
        network = eqx.combine(weights, static)
        return jnp.mean((jax.vmap(lambda t, x: network(t, x))(t, x) - x) ** 2)

    value, gradient = jax.value_and_grad(loss)(weights)
    updates, state = OPTIMISER.update(gradient, state, weights)
    return optax.apply_updates(weights, updates), state, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--all", action="store_true", help="time the large ones, too")
    arguments = parser.parse_args()
    key = jax.random.key(0)
    print(f"batches of {arguments.batch}")
    print(
        "| network | M parameters | GFLOP | s to trace it | s to trace a step | "
        "s to compile a step | MiB of a step | ms a step |\n" + "| --- " * 8 + "|"
    )
    for name, make in NETWORKS.items():
        abstract = eqx.filter_eval_shape(make, key)
        weights, static = eqx.partition(
            abstract, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
        )
        shape = abstract.arguments["shape"]
        one = jnp.ones(()), jnp.zeros(shape)
        start = time.perf_counter()
        forward = jax.jit(lambda w, t, x, s=static: eqx.combine(w, s)(t, x)).trace(
            weights, *one
        )
        tracing = time.perf_counter() - start
        flops = (forward.lower().cost_analysis() or {}).get("flops", float("nan"))
        work = "" if abstract.arguments.get("scan") else f"{flops / 1e9:.2f}"
        size = sum(leaf.size for leaf in jax.tree.leaves(weights))
        batch = arguments.batch
        ts, xs = jnp.ones(batch), jnp.zeros((batch, *shape))
        start = time.perf_counter()
        step = jax.jit(lambda w, o, t, x, s=static: train_step(w, o, t, x, s)).trace(
            weights, jax.eval_shape(OPTIMISER.init, weights), ts, xs
        )
        step_tracing = time.perf_counter() - start
        measured = "| | |"
        if arguments.steps and (arguments.all or name in TIMED):
            start = time.perf_counter()
            compiled = step.lower().compile()
            compiling = time.perf_counter() - start
            arrays = eqx.filter(make(key), eqx.is_array)
            state = OPTIMISER.init(arrays)
            seconds = []
            for _ in range(arguments.steps + 1):
                start = time.perf_counter()
                jax.block_until_ready(compiled(arrays, state, ts, xs))
                seconds.append(time.perf_counter() - start)
            held = ss.train.program_cost(compiled).peak_bytes or 0
            measured = (
                f"{compiling:.1f} | {held / 2**20:.0f} | {1e3 * np.min(seconds):.0f} |"
            )
        print(
            f"| {name} | {size / 1e6:.3f} | {work} | {tracing:.1f} | "
            f"{step_tracing:.1f} | {measured}",
            flush=True,
        )


if __name__ == "__main__":
    main()

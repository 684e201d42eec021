"""Parameters, work, and the time of tracing and of a step of each network, on this CPU.

    python benchmarks/networks.py
    python benchmarks/networks.py --steps 3 --batch 16

A step is forward, backward and Adam on a mean squared error. The work is that of one
forward pass of one image, as XLA counts it before it compiles: one multiplication with
an addition counts twice. `--steps 0` skips the steps. The networks for 62 million
parameters take a minute a step: only the small ones are timed unless `--all` is given.
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
    "DiT": lambda key: ss.nn.DiT(SHAPE, key=key),
    "NCSNpp.cifar10_continuous": lambda key: ss.nn.NCSNpp.cifar10_continuous(key=key),
    "  with scan": lambda key: ss.nn.NCSNpp.cifar10_continuous(key=key, scan=True),
    "NCSNpp.cifar10_deep": lambda key: ss.nn.NCSNpp.cifar10_deep(key=key),
    "  deep with scan": lambda key: ss.nn.NCSNpp.cifar10_deep(key=key, scan=True),
    "NCSNpp.celeba64": lambda key: ss.nn.NCSNpp.celeba64(key=key),
    "DDPMpp.cifar10_continuous": lambda key: ss.nn.DDPMpp.cifar10_continuous(key=key),
    "SongUNet.cifar10_ddpmpp": lambda key: ss.nn.SongUNet.cifar10_ddpmpp(key=key),
    "NCSN": lambda key: ss.nn.NCSN(SHAPE, key=key),
    "NCSNv2": lambda key: ss.nn.NCSNv2(SHAPE, key=key),
    "EDM2UNet.imagenet64, S": lambda key: ss.nn.EDM2UNet.imagenet64("s", key=key),
}
TIMED = ("UNet", "NCSNpp.small", "DDPMpp.small", "EDM2UNet, narrow", "DiT")
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
    print(
        f"{'network':27} {'M params':>9} {'GFLOP':>7} {'trace':>7} {'trace step':>10} "
        f"{'compile':>8} {'ms a step':>9}"
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
        size = sum(leaf.size for leaf in jax.tree.leaves(weights))
        batch = arguments.batch
        ts, xs = jnp.ones(batch), jnp.zeros((batch, *shape))
        start = time.perf_counter()
        step = jax.jit(lambda w, o, t, x, s=static: train_step(w, o, t, x, s)).trace(
            weights, jax.eval_shape(OPTIMISER.init, weights), ts, xs
        )
        step_tracing = time.perf_counter() - start
        compiling = fastest = float("nan")
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
            fastest = float(np.min(seconds))
        print(
            f"{name:27} {size / 1e6:9.3f} {flops / 1e9:7.3f} {tracing:6.1f}s "
            f"{step_tracing:9.1f}s {compiling:7.1f}s {1e3 * fastest:9.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

"""Costs of training steps of the published networks on a TPU, by its compiler.

    pip install libtpu
    python benchmarks/tpu_networks.py --topology v5e:2x4 --batch 128

No TPU is needed: the step is compiled ahead of time for the chips of a topology, over
which the batch is spread. The baseline is the same step, with the same loss, of a
process that does not corrupt (`C_t = I`); against it, the paper's blur. For each the
table has the time of tracing and of compiling on this machine, and what the compiler
says of one chip: its floating-point operations, the bytes that it moves, the memory
that it holds at once, and the estimated time of a step. The ratios are to the baseline.
Where the compiler has no time for a program (`-`), operations and bytes remain.
`--optimization-level 1` compiles in half the time, and has a time for most programs.
"""

import argparse
import math
import os
import time
from typing import Any

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import topologies
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import softsde as ss

NETWORKS = {
    "NCSNpp.cifar10_continuous": ss.nn.NCSNpp.cifar10_continuous,
    "NCSNpp.cifar10_deep": ss.nn.NCSNpp.cifar10_deep,
    "NCSNpp.celeba64": ss.nn.NCSNpp.celeba64,
    "DDPMpp.cifar10_continuous": ss.nn.DDPMpp.cifar10_continuous,
}
PROCESSES = {
    "C_t = I": lambda shape: ss.ve(0.01, 50.0),
    "blur": lambda shape: ss.soft_blur(shape),
}
OPTIMISER = optax.adam(2e-4)
EMA = 0.9999


class State(eqx.Module):
    """The state that a step changes."""

    denoiser: ss.Denoiser
    average: ss.Denoiser
    optimiser: Any


def create(make, process: str, options: dict[str, Any], key) -> State:
    network = make(key=key, **options)
    denoiser = ss.Denoiser(
        network,
        PROCESSES[process](tuple(network.arguments["shape"])),
        ss.parametrisations.Residual(),
    )
    weights = eqx.filter(denoiser, eqx.is_inexact_array)
    return State(denoiser, denoiser, OPTIMISER.init(weights))


def step(state: State, x0, key) -> tuple[State, Any]:
    """Gradient, Adam, and the average of the weights."""

    def loss(denoiser):
        loss = ss.losses.SoftScoreMatching()
        return ss.losses.batch_loss(loss, denoiser, x0, key=key)

    value, gradient = eqx.filter_value_and_grad(loss)(state.denoiser)
    updates, optimiser = OPTIMISER.update(gradient, state.optimiser)
    denoiser = eqx.apply_updates(state.denoiser, updates)
    new, rest = eqx.partition(denoiser, eqx.is_inexact_array)
    old = eqx.filter(state.average, eqx.is_inexact_array)
    average = jax.tree.map(lambda a, b: EMA * a + (1 - EMA) * b, old, new)
    return State(denoiser, eqx.combine(average, rest), optimiser), value


def measure(
    name: str,
    process: str,
    options: dict[str, Any],
    mesh: Mesh,
    batch: int,
    level: int | None = None,
):
    """The numbers of one row of the table."""
    whole = NamedSharding(mesh, PartitionSpec())
    spread = NamedSharding(mesh, PartitionSpec("data"))
    is_array = lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct)
    key = jax.random.key(0)
    state = eqx.filter_eval_shape(create, NETWORKS[name], process, options, key)
    arrays, static = eqx.partition(state, is_array)
    shape = (batch, *state.denoiser.network.arguments["shape"])

    def place(leaf, sharding):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)

    def run(arrays, x0, key):
        new, value = step(eqx.combine(arrays, static), x0, key)
        return eqx.filter(new, eqx.is_array), value

    arguments = (
        jax.tree.map(lambda leaf: place(leaf, whole), arrays),
        place(jax.ShapeDtypeStruct(shape, jnp.float32), spread),
        place(jax.eval_shape(lambda: key), whole),
    )
    start = time.perf_counter()
    traced = jax.jit(run, donate_argnums=0, out_shardings=whole).trace(*arguments)
    tracing = time.perf_counter() - start
    start = time.perf_counter()
    of_compiler: Any = None if level is None else {"optimization_level": level}
    compiled = traced.lower(lowering_platforms=("tpu",)).compile(of_compiler)
    compiling = time.perf_counter() - start
    cost = ss.train.program_cost(compiled)
    network = state.denoiser.network
    leaves = jax.tree.leaves(eqx.filter(network, is_array))
    return {
        "parameters": sum(math.prod(leaf.shape) for leaf in leaves),
        "trace": tracing,
        "compile": compiling,
        "flops": cost.flops,
        "bytes": cost.bytes_accessed,
        "seconds": cost.seconds or math.nan,
        "memory": cost.peak_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topology", default="v5e:2x4")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--remat", action="store_true")
    parser.add_argument("--optimization-level", type=int, help="of XLA, 0 to 3")
    arguments = parser.parse_args()
    description = topologies.get_topology_desc(
        platform="tpu", topology_name=arguments.topology
    )
    mesh = Mesh(np.array(description.devices), ("data",))
    options = {"compute_dtype": arguments.dtype, "remat": arguments.remat}
    print(
        f"{arguments.topology}, {mesh.size} chips, batch {arguments.batch}, "
        f"{arguments.dtype}, remat {arguments.remat}; per chip:"
    )
    print(
        f"{'network':27} {'process':8} {'M params':>8} {'trace':>6} {'compile':>8} "
        f"{'TFLOP':>6} {'GB moved':>8} {'GiB held':>8} {'est. ms':>8}  ratios"
    )
    for name in arguments.networks:
        baseline = None
        for process in PROCESSES:
            row = measure(
                name,
                process,
                options,
                mesh,
                arguments.batch,
                arguments.optimization_level,
            )
            baseline = baseline or row
            ratios = [row[of] / baseline[of] for of in ("flops", "bytes", "seconds")]
            print(
                f"{name:27} {process:8} {row['parameters'] / 1e6:8.3f} "
                f"{row['trace']:5.1f}s {row['compile']:7.1f}s "
                f"{row['flops'] / 1e12:6.3f} {row['bytes'] / 1e9:8.2f} "
                f"{row['memory'] / 2**30:8.2f} {_number(1e3 * row['seconds']):>8}  "
                f"{' '.join(map(_number, ratios))}",
                flush=True,
            )


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


if __name__ == "__main__":
    main()

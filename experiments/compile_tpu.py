"""Compile for TPUs that are not there: `python -m experiments.compile_tpu`.

The real training step, and the real sampler, are compiled by libtpu for a described
topology. The table tells flops, memory, the exchanges between chips, and an estimate of
the time. Needs `pip install libtpu`; no TPU is used.
"""

import dataclasses
import importlib.util
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

import softsde as ss
from softsde._files import write_json

from . import _build, _cli, _registry
from ._config import Config
from ._errors import CommandError
from ._presets import PRESETS
from ._spec import Spec, parse


@dataclass(frozen=True)
class Chip:
    """One chip, by its maker's data sheet."""

    tflops: float
    """Peak of bfloat16 matrix products, in 1e12 a second."""
    gigabytes_a_second: float
    """Peak bandwidth of its memory."""
    gib: float
    """Memory."""
    host: tuple[int, ...]
    """Chips of one host, along the axes of the topology."""


#: https://cloud.google.com/tpu/docs/system-architecture-tpu-vm
CHIPS = {
    "v4": Chip(275, 1228, 32, (2, 2, 1)),
    "v5e": Chip(197, 819, 16, (2, 4)),
    "v5p": Chip(459, 2765, 95, (2, 2, 1)),
    "v6e": Chip(918, 1640, 32, (2, 4)),
}

#: Shapes of images whose files need not be there. Each of these has ten classes.
SHAPES = {
    "digits": (8, 8, 1),
    "mnist": (28, 28, 1),
    "fashion_mnist": (28, 28, 1),
    "cifar10": (32, 32, 3),
}


@dataclass(frozen=True)
class CompileTpu:
    """Compile an experiment for TPUs."""

    config: str = "cifar10_blur"
    """The name of an experiment, or the `config.json` of a run."""
    process: str | None = None
    """Another process for it, such as 've(sigma_min=0.01, sigma_max=0.1)'."""
    topology: tuple[str, ...] = ("v5e:4x4",)
    """Kind of chip and number of chips along each axis; several for a table."""
    fsdp: int = 1
    """Over how many chips parameters, averages and moments are split."""
    batch_size: int | None = None
    """Images a step, over all chips; by default that of the experiment."""
    accumulate: int = 1
    """Parts of a batch that are computed one after another."""
    samples: int = 0
    """Also compile the sampler for this many samples at once, over all chips."""
    steps: int = 1_000_000
    """Steps for which the hours are estimated."""
    optimization_level: int | None = None
    """Level of XLA, from 0 to 3. Level 1 compiles in half the time, and its compiler
    estimates the time of large programs, too; it holds more memory at once."""
    output: Path | None = None
    """Write the numbers to this JSON file too."""


def topology_mesh(topology: str, fsdp: int) -> Mesh:
    """The mesh of a topology that is not there.

    **Raises:** `CommandError` for a name that is none; `ImportError` without libtpu.
    """
    kind, _, shape = topology.partition(":")
    sizes = [int(n) for n in shape.split("x") if n.isdigit()]
    if kind not in CHIPS or not sizes or "x".join(map(str, sizes)) != shape:
        raise CommandError(
            f"`--topology {topology}` is no topology; expected a kind of chip "
            f"({', '.join(CHIPS)}) and the chips along each axis, such as v5e:4x4."
        )
    if importlib.util.find_spec("libtpu") is None:
        raise ImportError(
            "Compiling for TPUs needs their compiler: `pip install libtpu`."
        )
    from jax.experimental import topologies

    host = CHIPS[kind].host
    sizes += [1] * (len(host) - len(sizes))
    # A slice smaller than a host is a part of one.
    bounds = [min(a, b) for a, b in zip(sizes, host, strict=True)]
    bounds += [1] * (3 - len(bounds))
    description = topologies.get_topology_desc(
        platform="tpu",
        topology_name=f"{kind}:{'x'.join(map(str, sizes))}",
        chips_per_host_bounds=tuple(bounds),
    )
    return ss.train.make_mesh(fsdp=fsdp, devices=description.devices)


def stand_in(config: Config) -> ss.data.AbstractSource:
    """Black images of the shape of an experiment's, whose files need not be there."""
    images = config.data.images
    name = config.data.source.lower().replace("-", "_")
    if name in SHAPES:
        labels = np.arange(10)
        return ss.data.ArraySource(np.zeros((10, *SHAPES[name]), np.uint8), labels)
    if images.size is not None and not config.condition.labels:
        shape = (images.size, images.size, images.channels or 3)
        return ss.data.ArraySource(np.zeros((1, *shape), np.uint8))
    return _build.make_source(config.data)


def make_parts(config: Config) -> _build.Parts:
    """The objects of an experiment, without its data.

    A level schedule from data is replaced by the default one, which costs the same.
    """
    process = config.process
    levels = process.options.get("levels")
    levels = Spec(levels) if isinstance(levels, str) else levels
    if isinstance(levels, Spec) and _registry.knows(levels.name, ["fitted"]):
        others = {n: v for n, v in process.options.items() if n != "levels"}
        process = dataclasses.replace(process, options=others)
    config = dataclasses.replace(config, process=process)
    return _build.Parts(config, stand_in(config))


def compile_training(
    config: Config,
    mesh: Mesh,
    batch_size: int,
    accumulate: int = 1,
    level: int | None = None,
) -> ss.train.ProgramCost:
    """Compile the training step of an experiment for the devices of a mesh."""
    parts = make_parts(config)
    process = parts.process()
    loss_fn, carry = parts.loss(process)
    optimiser = parts.optimiser()
    state = ss.train.abstract_state(
        lambda key: parts.denoiser(parts.network(), process),
        optimiser,
        carry=carry,
        sigma_rel=config.optimiser.sigma_rel,
        mesh=mesh,
    )
    step = ss.train.make_train_step(
        loss_fn,
        optimiser,
        ema_decay=config.optimiser.ema_decay,
        accumulate=accumulate,
        mesh=mesh,
    )
    entries: dict[str, Any] = {
        "image": (parts.source.shape, jnp.uint8),
        "label": ((), jnp.int32),
    }
    batch = ss.train.abstract_batch(entries, batch_size, mesh)
    return _cost(step.lower(state, batch), level)


def compile_sampling(
    config: Config, mesh: Mesh, number: int, level: int | None = None
) -> ss.train.ProgramCost:
    """Compile the sampler of an experiment for the devices of a mesh."""
    parts = make_parts(config)
    process = parts.process()
    averages = ss.train.abstract_state(
        lambda key: parts.denoiser(parts.network(), process),
        parts.optimiser(),
        mesh=mesh,
    ).ema
    arrays, rest = eqx.partition(
        averages, lambda x: isinstance(x, jax.ShapeDtypeStruct)
    )
    options: dict[str, Any] = config.sampling.sampler.options()
    labels = config.condition.labels

    def draw(arrays, starts):
        denoiser = eqx.combine(arrays, rest)
        return ss.sample(
            denoiser,
            x1=starts["x"],
            condition=starts["label"] if labels else None,
            key=jax.random.key(0),
            **options,
        ).x

    entries: dict[str, Any] = {"x": (parts.source.shape, jnp.float32)}
    if labels:
        entries["label"] = ((), jnp.int32)
    starts = ss.train.abstract_batch(entries, number, mesh)
    return _cost(jax.jit(draw).lower(arrays, starts), level)


def _cost(lowered: jax.stages.Lowered, level: int | None) -> ss.train.ProgramCost:
    """Compiles with the optimisations of a level; `None` is the compiler's default."""
    options: Any = None if level is None else {"optimization_level": level}
    return ss.train.program_cost(lowered.compile(options))


def measure(command: CompileTpu, topology: str) -> dict[str, Any]:
    """One row of the table."""
    config = read_config(command.config)
    if command.process is not None:
        process = parse(command.process, "--process")
        config = dataclasses.replace(config, process=process)
    mesh = topology_mesh(topology, command.fsdp)
    chip = CHIPS[topology.partition(":")[0]]
    batch_size = command.batch_size or config.training.batch_size
    began = time.monotonic()
    level = command.optimization_level
    cost = compile_training(config, mesh, batch_size, command.accumulate, level)
    row: dict[str, Any] = {
        "config": command.config,
        "process": str(config.process),
        "topology": topology,
        "chips": mesh.size,
        "fsdp": command.fsdp,
        "batch_size": batch_size,
        "compile_seconds": time.monotonic() - began,
        "training": dataclasses.asdict(cost) | judge(cost, chip, command.steps),
    }
    if command.samples:
        cost = compile_sampling(config, mesh, command.samples, level)
        row["sampling"] = dataclasses.asdict(cost) | judge(cost, chip, 1)
        row["sampling"]["samples"] = command.samples
    return row


def judge(cost: ss.train.ProgramCost, chip: Chip, steps: int) -> dict[str, Any]:
    """The bounds that a chip's data sheet sets, beside the compiler's estimate.

    No program is faster than `flops / peak` and `bytes / bandwidth`. The bytes are the
    compiler's, which counts those that stay in the fast memory of the chip too.
    """
    by_flops = cost.flops / (chip.tflops * 1e12)
    by_bytes = cost.bytes_accessed / (chip.gigabytes_a_second * 1e9)
    seconds = cost.seconds or max(by_flops, by_bytes)
    return {
        "seconds_by_flops": by_flops,
        "seconds_by_bytes": by_bytes,
        "estimated_seconds": seconds,
        "utilisation": by_flops / seconds if seconds else math.nan,
        "hours": seconds * steps / 3600,
        "fits": cost.peak_bytes < chip.gib * 2**30,
    }


def read_config(name: str) -> Config:
    """The config of a name or of a file."""
    if name in PRESETS:
        return PRESETS[name].config
    if Path(name).exists():
        return Config.load(Path(name))
    raise CommandError(
        f"`--config {name}` is neither an experiment ({', '.join(PRESETS)}) nor a "
        "config.json."
    )


def table(rows: list[dict[str, Any]], steps: int) -> str:
    """The rows in Markdown."""
    head = (
        "chips",
        "topology",
        "batch",
        "GFLOP a chip",
        "GiB a chip",
        "state GiB",
        "ms a step",
        "of peak",
        f"hours to {steps:,} steps",
        "exchanges",
    )
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    for row in rows:
        cost = row["training"]
        exchanges = ", ".join(
            f"{number} {kind} ({size / 2**20:.1f} MiB)"
            for kind, (number, size) in cost["collectives"].items()
        )
        cells = (
            row["chips"],
            row["topology"],
            row["batch_size"],
            f"{cost['flops'] / 1e9:.1f}",
            f"{cost['peak_bytes'] / 2**30:.2f}",
            f"{cost['state_bytes'] / 2**30:.3f}",
            f"{1e3 * cost['estimated_seconds']:.2f}",
            f"{cost['utilisation']:.0%}",
            f"{cost['hours']:.1f}",
            exchanges or "none",
        )
        lines.append(" | ".join(map(str, cells)))
    return "\n".join(f"| {line} |" for line in lines)


def main() -> None:
    # libtpu would look for the metadata of a TPU VM, and lock the TPU of this machine.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    jax.config.update("jax_platforms", "cpu")
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(CompileTpu, "experiments.compile_tpu", __doc__)
    rows = []
    for topology in command.topology:
        rows.append(measure(command, topology))
        print(table(rows[-1:], command.steps).splitlines()[-1], flush=True)
    print(f"\n{command.config}, fsdp {command.fsdp}\n")
    print(table(rows, command.steps))
    for row in rows:
        if "sampling" in row:
            cost = row["sampling"]
            print(
                f"{row['topology']}: {cost['samples']} samples in "
                f"{cost['estimated_seconds']:.2f} s, "
                f"{cost['peak_bytes'] / 2**30:.2f} GiB a chip"
            )
    if command.output is not None:
        write_json(command.output, rows)
        _cli.wrote(command.output)


if __name__ == "__main__":
    main()

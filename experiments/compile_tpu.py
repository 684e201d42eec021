"""Compile for TPUs that are not there: `python -m experiments.compile_tpu`.

The real training step, and the real sampler, are compiled by libtpu for a described
topology. The table tells flops, memory, the exchanges between chips, and an estimate of
the time. Needs `pip install libtpu`; no TPU is used.
"""

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

import softsde as ss
from softsde._files import write_json

from . import _ahead, _cli
from ._config import Config
from ._errors import CommandError
from ._presets import PRESETS
from ._spec import parse


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
    network: bool = False
    """Also compile forward and backward of the network alone, to compare the step
    with."""
    samples: int = 0
    """Also compile the sampler for this many samples at once, over all chips."""
    steps: int = 1_000_000
    """Steps for which the hours are estimated."""
    optimization_level: int | None = None
    """Level of XLA, from 0 to 3. Level 1 compiles in half the time, and its compiler
    estimates the time of large programs, too; it holds more memory at once."""
    output: Path | None = None
    """Write the numbers to this JSON file too."""


def measure(command: CompileTpu, topology: str) -> dict[str, Any]:
    """One row of the table."""
    config = read_config(command.config)
    if command.process is not None:
        process = parse(command.process, "--process")
        config = dataclasses.replace(config, process=process)
    mesh = _ahead.topology_mesh(topology, command.fsdp)
    chip = _ahead.CHIPS[topology.partition(":")[0]]
    batch_size = command.batch_size or config.training.batch_size
    began = time.monotonic()
    level = command.optimization_level
    cost = _ahead.compile_training(config, mesh, batch_size, command.accumulate, level)
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
    if command.network:
        cost = _ahead.compile_network(config, mesh, batch_size, level)
        row["network"] = dataclasses.asdict(cost) | judge(cost, chip, command.steps)
    if command.samples:
        cost = _ahead.compile_sampling(config, mesh, command.samples, level)
        row["sampling"] = dataclasses.asdict(cost) | judge(cost, chip, 1)
        row["sampling"]["samples"] = command.samples
    return row


def judge(cost: ss.train.ProgramCost, chip: _ahead.Chip, steps: int) -> dict[str, Any]:
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
        if "network" in row:
            alone = row["network"]["estimated_seconds"]
            print(
                f"{row['topology']}: {1e3 * alone:.2f} ms for forward and backward of "
                "the network alone; a step takes "
                f"{row['training']['estimated_seconds'] / alone:.3f} of it"
            )
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

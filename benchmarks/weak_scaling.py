"""Weak scaling: the same number of images for each device, on more and more devices.

    python benchmarks/weak_scaling.py --picture docs/_static/weak_scaling.png
    pip install libtpu; python benchmarks/weak_scaling.py --tpu v5e

The first table is of this machine. It has few cores, so host devices beyond their
number share them: the ideal is the speed of one device times the smaller of devices and
cores, and what is below it is the cost of splitting and of summing gradients. The state
is copied to each device (`fsdp` 1).

The second is of a TPU that is not there. The step is compiled for slices of 1 to 64
chips. The time of one chip is the compiler's estimate. To it comes the time of a ring
that sums the gradients, `2 (n - 1) / n` of their bytes over the links of a chip, as if
nothing of it were hidden behind the computation. The efficiency is the time on one chip
over the time on `n`.
"""

import argparse
import pathlib
import sys
from typing import Any

import jax
import numpy as np
from _settings import CORES, measure, serve_times

import softsde as ss

DEVICES = (1, 2, 4, 8)
SHAPE = (28, 28, 1)
SLICES = ("1x1", "1x2", "2x2", "2x4", "4x4", "4x8", "8x8")
#: Bytes a second that a chip sends to its neighbours, by its maker's data sheet.
LINKS = {"v5e": 200e9}


def flags(devices: int) -> str:
    """A number of host devices, each single-threaded."""
    return (
        f"--xla_force_host_platform_device_count={devices} "
        "--xla_cpu_multi_thread_eigen=false"
    )


def serve(batch: int) -> None:
    """Times the step on all devices of this process."""
    mesh = ss.train.make_mesh()
    optimiser = ss.train.make_optimiser(1e-3)

    def make_model(key: Any) -> ss.Denoiser:
        network = ss.nn.UNet(
            SHAPE,
            base_channels=48,
            channel_multipliers=(1, 2),
            patch_size=2,
            attention_levels=(1,),
            key=key,
        )
        return ss.Denoiser(network, ss.soft_blur(SHAPE))

    loss_fn = ss.losses.on_batches(ss.losses.SoftScoreMatching())
    state = ss.train.init_state(make_model, optimiser, key=jax.random.key(0), mesh=mesh)
    step = ss.train.make_train_step(loss_fn, optimiser, mesh=mesh)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch * mesh.size, *SHAPE), np.uint8)
    data = ss.train.shard_batch({"image": images}, mesh)
    holder = [state]

    def run() -> None:
        holder[0], metrics = step(holder[0], data)
        jax.block_until_ready(metrics)

    run()
    serve_times({"step": run})


def host(batch: int, rounds: int) -> list[tuple[int, float, float]]:
    """Devices, images a second, and the share of the ideal."""
    settings = {str(n): flags(n) for n in DEVICES}
    best = measure(__file__, settings, batch, rounds)
    speed = {n: n * batch / best[str(n)]["step"] for n in DEVICES}
    print(f"this machine, {CORES} cores, {batch} images a device")
    print("| devices | images a second | of the ideal |\n| --- | --- | --- |")
    rows = [(n, speed[n], speed[n] / (speed[1] * min(n, CORES))) for n in DEVICES]
    for n, images, share in rows:
        print(f"| {n} | {images:.0f} | {share:.2f} |")
    return rows


def tpu(kind: str, config: str, batch: int) -> list[tuple[int, float, float]]:
    """Chips, images a second, and the efficiency."""
    # The commands are not part of the installed package.
    sys.path.insert(0, str(pathlib.Path(__file__).parents[1]))
    from experiments import _ahead, compile_tpu

    settings = compile_tpu.read_config(config)
    print(f"\n{kind}, {config}, {batch} images a chip")
    print(
        "| chips | GFLOP a chip | ms of a chip | MiB of gradients | ms of the exchange "
        "| images a second | efficiency |\n" + "| --- " * 7 + "|"
    )
    rows: list[tuple[int, float, float]] = []
    alone = 0.0
    for shape in SLICES:
        mesh = _ahead.topology_mesh(f"{kind}:{shape}", 1)
        n = mesh.size
        cost = _ahead.compile_training(settings, mesh, n * batch, level=1)
        judged = compile_tpu.judge(cost, _ahead.CHIPS[kind], 1)
        seconds = judged["estimated_seconds"]
        sent = sum(size for _, size in cost.collectives.values())
        exchange = 2 * (n - 1) / n * sent / LINKS[kind]
        alone = alone or seconds
        speed = n * batch / (seconds + exchange)
        rows.append((n, speed, alone / (seconds + exchange)))
        print(
            f"| {n} | {cost.flops / 1e9:.1f} | {1e3 * seconds:.3f} | "
            f"{sent / 2**20:.1f} | {1e3 * exchange:.3f} | {speed:,.0f} | "
            f"{rows[-1][2]:.2f} |",
            flush=True,
        )
    return rows


def draw(path: pathlib.Path, curves: dict[str, list[tuple[int, float, float]]]) -> None:
    """Images a second against devices, each beside its ideal."""
    figure = ss.plotting.new_figure(5 * len(curves), 3.6)
    for axes, (title, rows) in zip(
        np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True
    ):
        devices, speed, share = map(np.asarray, zip(*rows, strict=True))
        axes.plot(devices, speed / share, ":", color="0.6", label="ideal")
        axes.plot(devices, speed, "o-", label="measured or estimated")
        axes.set(title=title, xlabel="devices", ylabel="images a second")
        axes.set_xscale("log", base=2)
        if speed[-1] > 10 * speed[0]:
            axes.set_yscale("log")
        else:
            axes.set_ylim(bottom=0)
        axes.set_xticks(devices, [str(n) for n in devices])
        axes.legend(frameon=False)
    print(ss.plotting.save_figure(figure, path))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--batch", type=int, default=32, help="images a device")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--tpu", choices=list(LINKS), help="compile for a TPU, too")
    parser.add_argument("--config", default="fashion_mnist_blur", help="for the TPU")
    parser.add_argument("--tpu-batch", type=int, default=128, help="images a chip")
    parser.add_argument("--picture", type=pathlib.Path)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        return serve(chosen.batch)
    rows = host(chosen.batch, chosen.rounds)
    curves = {f"host devices on {CORES} cores": rows}
    if chosen.tpu:
        rows = tpu(chosen.tpu, chosen.config, chosen.tpu_batch)
        curves[f"{chosen.tpu}, by the compiler"] = rows
    if chosen.picture:
        draw(chosen.picture, curves)


if __name__ == "__main__":
    main()

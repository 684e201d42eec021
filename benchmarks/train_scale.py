"""Measures the overhead of a training step, and the speed of the data pipeline.

    python benchmarks/train_scale.py

Each line is a ratio against the baseline of the same run. `step` is the whole training
step against forward and backward of its network alone; `many` is a step in a program of
eight; `placed` is the time on the host that finds a state in its place.
"""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import time

import equinox as eqx
import jax
import numpy as np

import softsde as ss

SHAPE, BATCH, REPEATS = (28, 28, 1), 64, 20


def best(run, repeats=REPEATS) -> float:
    """The least seconds of one call."""
    run()
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    mesh = ss.train.make_mesh()
    process = ss.soft_blur(SHAPE, max_blur=18.0)
    optimiser = ss.train.make_optimiser(1e-3)

    def make_model(key):
        network = ss.nn.UNet(
            SHAPE,
            base_channels=48,
            channel_multipliers=(1, 2),
            patch_size=2,
            blocks_per_level=1,
            attention_levels=(1,),
            key=key,
        )
        return ss.Denoiser(network, process)

    key = jax.random.key(0)
    loss_fn = ss.losses.on_batches(ss.losses.SoftScoreMatching("inverse_std"))
    state = ss.train.init_state(make_model, optimiser, key=key, mesh=mesh)
    step = ss.train.make_train_step(loss_fn, optimiser, mesh=mesh)
    images = np.random.default_rng(0).integers(0, 256, (BATCH, *SHAPE), np.uint8)
    batch = ss.train.shard_batch({"image": images}, mesh)

    @eqx.filter_jit
    def alone(model, batch):
        loss = lambda model: loss_fn(model, batch, key=key)[0]
        return eqx.filter_grad(loss)(model)

    model = state.model
    baseline = best(lambda: alone(model, batch))
    holder = [ss.train.init_state(make_model, optimiser, key=key, mesh=mesh)]

    def one():
        holder[0], metrics = step(holder[0], batch)
        return metrics

    whole = best(one)
    stacked = {"image": np.stack([images] * 8)}

    def many():
        holder[0], metrics = step.many(holder[0], stacked)
        return metrics

    eight = best(many, 5) / 8
    placed = best(lambda: step._placed(holder[0]), 50)
    print(f"forward and backward    {1e3 * baseline:8.2f} ms   1.00")
    print(f"step                    {1e3 * whole:8.2f} ms   {whole / baseline:.2f}")
    print(f"step in a program of 8  {1e3 * eight:8.2f} ms   {eight / baseline:.2f}")
    print(f"placed, on the host     {1e3 * placed:8.2f} ms   {placed / baseline:.3f}")
    source = ss.data.ArraySource(np.concatenate([images] * 64))
    for dtype in ("float32", "uint8"):
        loader = iter(
            ss.data.make_loader(
                source, BATCH, transforms=[ss.data.RandomFlip()], dtype=dtype
            )
        )
        seconds = best(lambda loader=loader: next(loader)["image"], 200)
        mean = _mean(loader, 300)
        print(
            f"loader, {dtype:8}        {1e3 * mean:8.2f} ms   "
            f"{whole / mean:.1f} times what the step takes"
            f" (best {1e3 * seconds:.2f} ms)"
        )


def _mean(loader, number: int) -> float:
    began = time.perf_counter()
    for _ in range(number):
        next(loader)
    return (time.perf_counter() - began) / number


if __name__ == "__main__":
    main()

"""Your own corruption in one method, trained and sampled on digits.

    python docs/examples/own_corruption.py

The images are the 8 x 8 digits that come with scikit-learn. Writes three pictures.
"""

import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
from jax import Array

import softsde as ss


class Dust(ss.corruptions.AbstractCorruption):
    """The picture falls to dust: each column becomes its mean, in the lowest row.

    `apply` only has to be linear in `x`, and the identity at first. This one is not
    symmetric, is diagonal in no basis, and is singular at level 1.
    `ss.corruptions.check(Dust(), shape)` tries it on random samples.
    """

    def apply(self, theta, x):
        floor = jnp.zeros_like(x).at[-1].set(jnp.mean(x, axis=0))
        return (1 - theta) * x + theta * floor


def train(process: ss.Process, source, steps: int, key: Array) -> ss.Denoiser:
    model_key, train_key = jax.random.split(key)
    network = ss.nn.UNet(
        source.shape,
        base_channels=32,
        channel_multipliers=(1, 2),
        blocks_per_level=1,
        key=model_key,
    )
    denoiser = ss.Denoiser(network, process, ss.parametrisations.Clean())
    loss_fn = ss.losses.on_batches(ss.losses.CleanPrediction("inverse_std"))
    optimiser = ss.train.make_optimiser(
        2e-3, warmup_steps=steps // 10, total_steps=steps, schedule="cosine"
    )
    step = ss.train.make_train_step(loss_fn, optimiser, ema_decay=0.995)
    state = ss.train.TrainState.create(denoiser, optimiser, key=train_key)
    batches = iter(ss.data.make_loader(source, 64))
    for i in range(steps):
        state, metrics = step(state, next(batches))
        if i % max(1, steps // 5) == 0:
            print(f"step {i:5d}  loss {float(metrics['loss']):.4f}", flush=True)
    return state.ema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1000, help="of training")
    parser.add_argument("--num", type=int, default=64, help="samples")
    parser.add_argument("--folder", type=pathlib.Path, default="runs/own_corruption")
    options = parser.parse_args()
    train_key, sample_key = jax.random.split(jax.random.key(0))

    source = ss.data.digits()
    images = jnp.asarray(ss.data.to_array(source))
    process = ss.Process(
        Dust(),
        levels=ss.schedules.Linear(0.0, 1.0),
        noise=ss.schedules.Linear(0.01, 0.5),
    )
    times = jnp.linspace(0.0, 1.0, 8)
    fallen = jax.vmap(lambda x: jax.vmap(lambda t: process.apply(t, x))(times))
    strip = ss.plotting.trajectory_strip(fallen(images[:4]), scale=6)
    ss.plotting.save_png(options.folder / "forward.png", strip)

    began = time.perf_counter()
    denoiser = train(process, source, options.steps, train_key)
    print(f"{options.steps} steps in {time.perf_counter() - began:.0f} s")

    drawn = ss.sample(
        denoiser,
        prior=ss.GaussianPrior.fit(process, images),
        num_samples=options.num,
        num_steps=100,
        solver=ss.Momentum(),
        clock="sde",
        save_trajectory=True,
        key=sample_key,
    )
    assert drawn.trajectory is not None
    ss.plotting.save_grid(options.folder / "samples.png", drawn.x, columns=16, scale=4)
    strip = ss.plotting.trajectory_strip(drawn.trajectory[:4], scale=6)
    ss.plotting.save_png(options.folder / "way.png", strip)
    print(f"{time.perf_counter() - began:.0f} s in all; see {options.folder}")


if __name__ == "__main__":
    main()

"""How fast small networks learn garments on a CPU: quality against CPU time.

    python benchmarks/training_curves.py --images 200000 --out runs/curves.jsonl

Each network is trained on Fashion-MNIST with the process, the loss and the optimiser of
the shipped model, on the same images in the same order, and measured at equal numbers
of images. A row holds

- `cpu_seconds`: CPU time that the training steps have taken so far, over all threads.
  Other programs on the machine change it little, unlike the time of the clock;
- `relative_loss`: the loss on test images, of the averaged weights, in the mean over
  eleven times; that of the best affine denoiser is 1;
- `frechet`: the Frechet distance between samples and the training images, in the
  features of the shipped classifier. It is no FID.

The networks take turns, a stretch of images each, so that a slow hour slows all alike.
The last line for each pair says how much CPU time each needs to reach the distance that
the shipped network has reached at the end.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

# A host device per core, each single-threaded, as the experiments do on a CPU.
os.environ.setdefault(
    "XLA_FLAGS",
    f"--xla_force_host_platform_device_count={os.cpu_count() or 1} "
    "--xla_cpu_multi_thread_eigen=false",
)

import jax
import jax.numpy as jnp
import numpy as np
from small_networks import NETWORKS

import softsde as ss

TIMES = np.linspace(0, 1, 11, dtype=np.float32)


class Run:
    """One network in training."""

    def __init__(self, name: str, make: Callable, model: ss.Model, arguments):
        steps = arguments.images // arguments.batch
        denoiser = ss.Denoiser(make(jax.random.key(arguments.seed)), model.process)
        optimiser = ss.train.make_optimiser(
            arguments.learning_rate,
            schedule="cosine",
            warmup_steps=min(500, steps // 10),
            total_steps=steps,
        )
        mesh = ss.train.make_mesh()
        loss = ss.losses.SoftScoreMatching("inverse_std")
        self.name, self.cpu, self.steps = name, 0.0, 0
        self.step = ss.train.make_train_step(
            ss.losses.on_batches(loss), optimiser, ema_decay=0.998, mesh=mesh
        )
        self.state = ss.train.TrainState.create(
            denoiser, optimiser, key=jax.random.key(arguments.seed)
        )
        self.stream = iter(
            ss.data.make_loader(
                ss.data.load(arguments.data), arguments.batch, seed=arguments.seed
            )
        )

    def train(self, steps: int) -> None:
        """The first step ever is the compilation, which no time counts."""
        for _ in range(steps):
            batch = next(self.stream)
            began = time.process_time()
            self.state, metrics = self.step(self.state, batch)
            jax.block_until_ready(metrics)
            if self.steps > 0:
                self.cpu += time.process_time() - began
            self.steps += 1


def relative_loss(denoiser, images: np.ndarray, weight) -> float:
    """The mean over `TIMES` of the loss, relative to the best affine denoiser's."""
    loss = ss.losses.SoftScoreMatching(weight)
    keys = jax.random.split(jax.random.key(0), len(images))

    @jax.jit
    def mean(t):
        one = lambda x, k: loss(denoiser, x, t, key=k)
        return jnp.mean(jax.vmap(one)(jnp.asarray(images), keys))

    return float(np.mean([float(mean(t)) for t in TIMES]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--data", default="fashion_mnist")
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--stretches", type=int, default=5)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--sampling-steps", type=int, default=60)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    model = ss.load("fashion_mnist_blur")
    classifier = ss.models.load_network("classifier_fashion_mnist")
    training = ss.data.to_array(ss.data.load(arguments.data))
    test = ss.data.to_array(ss.data.load(arguments.data, "test"), limit=300)
    features = ss.metrics.extract_features(classifier.features, training)
    moments = ss.metrics.FeatureMoments.of(features)
    weight = ss.losses.RelativeWeight.fit(model.process, training[:3000])

    def frechet(denoiser) -> float:
        drawn = ss.Model(denoiser, model.prior, {}).sample(
            arguments.samples,
            seed=0,
            steps=arguments.sampling_steps,
            solver=ss.Momentum(),
            clock=ss.clocks.Churn(40.0),
        )
        found = ss.metrics.extract_features(classifier.features, np.clip(drawn, 0, 1))
        return ss.metrics.frechet_report(
            ss.metrics.FeatureMoments.of(found), moments, space="classifier"
        ).distance

    runs = [Run(name, NETWORKS[name], model, arguments) for name in arguments.networks]
    stretch = arguments.images // arguments.batch // arguments.stretches
    rows = []
    for number in range(arguments.stretches):
        for run in runs:
            run.train(stretch)
            average = jax.tree.map(
                lambda x: jnp.asarray(jax.device_get(x)) if hasattr(x, "dtype") else x,
                run.state.ema,
            )
            row = {
                "network": run.name,
                "images": run.steps * arguments.batch,
                "cpu_seconds": round(run.cpu, 1),
                "relative_loss": round(relative_loss(average, test, weight), 4),
            }
            if arguments.samples and number + 1 == arguments.stretches:
                row["frechet"] = round(frechet(average), 2)
            rows.append(row)
            line = json.dumps(row)
            print(line, flush=True)
            if arguments.out is not None:
                arguments.out.parent.mkdir(parents=True, exist_ok=True)
                with open(arguments.out, "a") as file:
                    file.write(line + "\n")

    # Whose loss is as low as the baseline's last one, and after what CPU time.
    goal = [row for row in rows if row["network"] == runs[0].name][-1]
    for run in runs[1:]:
        own = [row for row in rows if row["network"] == run.name]
        losses = np.array([row["relative_loss"] for row in own])
        seconds = np.array([row["cpu_seconds"] for row in own])
        if losses.min() > goal["relative_loss"]:
            print(f"{run.name}: has not reached the loss of {runs[0].name}")
            continue
        needed = np.interp(-goal["relative_loss"], -losses, seconds)
        print(
            f"{run.name}: reaches the last loss of {runs[0].name} in {needed:.0f} s of "
            f"CPU time, {goal['cpu_seconds'] / needed:.2f} times faster"
        )


if __name__ == "__main__":
    main()

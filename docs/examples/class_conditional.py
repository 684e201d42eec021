"""Digits on demand: one network for ten classes, guided, and checked by a classifier.

    python docs/examples/class_conditional.py

The images are the 8 x 8 digits that come with scikit-learn. Writes one picture, with a
row for each class.
"""

import argparse
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from sklearn.svm import SVC

import softsde as ss


def train(process: ss.Process, source, steps: int, key: Array) -> ss.Denoiser:
    model_key, train_key = jax.random.split(key)
    network = ss.nn.UNet(
        source.shape,
        base_channels=32,
        channel_multipliers=(1, 2),
        num_classes=10,
        key=model_key,
    )
    denoiser = ss.Denoiser(network, process)
    # One label in ten is dropped: guidance needs the unconditional denoiser too.
    loss_fn = ss.losses.on_batches(
        ss.losses.SoftScoreMatching("inverse_std"),
        condition="label",
        drop_condition=0.1,
    )
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
    parser.add_argument("--num", type=int, default=500, help="samples")
    parser.add_argument("--scale", type=float, default=2.0, help="of the guidance")
    parser.add_argument("--folder", type=pathlib.Path, default="runs/class_conditional")
    options = parser.parse_args()
    train_key, sample_key = jax.random.split(jax.random.key(0))

    source = ss.data.digits()
    images = ss.data.to_array(source)
    process = ss.soft_blur((8, 8, 1), max_blur=18.0)
    began = time.perf_counter()
    denoiser = train(process, source, options.steps, train_key)
    print(f"{options.steps} steps in {time.perf_counter() - began:.0f} s")

    labels = jnp.arange(options.num) % 10
    drawn = ss.sample(
        ss.guidance.ClassifierFree(denoiser, options.scale),
        prior=ss.GaussianPrior.fit(process, jnp.asarray(images)),
        num_samples=options.num,
        condition=labels,
        key=sample_key,
    )
    rows = [drawn.x[labels == label][:16] for label in range(10)]
    ss.plotting.save_grid(
        options.folder / "samples.png", jnp.concatenate(rows), columns=16, scale=7
    )

    # A classifier that knows nothing of the model: a support vector machine.
    judge = SVC().fit(images.reshape(len(images), -1), ss.data.to_labels(source))
    test = ss.data.digits("test")
    share = lambda images, labels: np.mean(
        judge.predict(np.asarray(images).reshape(len(images), -1)) == labels
    )
    of_test = share(ss.data.to_array(test), ss.data.to_labels(test))
    print(f"classified as asked: {share(drawn.x, labels):.1%} of {options.num} samples")
    print(f"for comparison: {of_test:.1%} of the digits that were held out")
    print(f"{time.perf_counter() - began:.0f} s in all; see {options.folder}")


if __name__ == "__main__":
    main()

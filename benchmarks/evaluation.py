"""Statistics of 10,000 images of 28x28 in the features of the shipped classifier.

Compares one pass of `FeatureStatistics.of`, with its hashes, checks, moments and kept
features, with the plainest loop over the network alone. Then measures all that
`experiments.evaluate` computes of such statistics, and how much memory grows when four
times as many images pass.

Run: `python benchmarks/evaluation.py`
"""

import resource
import time

import jax
import numpy as np

import softsde as ss

NUM, BATCH = 10_000, 256


def stream(num: int, seed: int):
    """Images that never lie in memory together."""
    rng = np.random.default_rng(seed)
    for _ in range(num // 1000):
        yield rng.random((1000, 28, 28, 1), dtype=np.float32)


def peak_megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    network = ss.models.load_network("classifier_fashion_mnist")
    features = ss.metrics.FunctionFeatures(
        network.features, name="classifier of Fashion-MNIST", size=(28, 28, 1)
    )
    images = np.concatenate(list(stream(NUM, 0)))

    plain = jax.jit(jax.vmap(network.features))
    np.asarray(plain(images[:BATCH]))
    began = time.monotonic()
    for start in range(0, NUM - BATCH, BATCH):
        np.asarray(plain(images[start : start + BATCH]))
    alone = time.monotonic() - began

    began = time.monotonic()
    samples = ss.metrics.FeatureStatistics.of(features, images, progress=True)
    seconds = time.monotonic() - began
    print(f"the network alone     {alone:6.1f} s  ratio 1.00")
    print(f"FeatureStatistics.of  {seconds:6.1f} s  ratio {seconds / alone:.2f}")

    reference = ss.metrics.FeatureStatistics.of(features, stream(NUM, 1))
    before = peak_megabytes()
    ss.metrics.FeatureStatistics.of(features, stream(4 * NUM, 2), progress=True)
    print(
        f"4 times as many images: {peak_megabytes() - before:.0f} MB more at the peak"
    )

    for name, measure in {
        "Frechet distance": ss.metrics.measure_frechet,
        "kernel distance": ss.metrics.measure_kernel,
        "precision to coverage": ss.metrics.measure_manifold,
    }.items():
        began = time.monotonic()
        measure(samples, reference)
        print(f"{name:22}{time.monotonic() - began:6.1f} s")


if __name__ == "__main__":
    main()

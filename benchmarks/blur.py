"""The blur as two Toeplitz products, against the convolutions that it equals.

    python benchmarks/blur.py

64x64x3 images, half size 80: the paper's setting for CelebA. The baselines are the
depthwise convolution with the whole 161 x 161 kernel, as one would write it first, and
with the two 1-d kernels one after the other. All are jitted and checked to agree; each
time is the best of the rounds, in turn.
"""

import argparse
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from softsde.corruptions import GaussianBlur

SIZE, CHANNELS, HALF = 64, 3, 80
LAYOUT = ("NHWC", "HWIO", "NHWC")


def weights(theta: Array) -> Array:
    offsets = jnp.arange(-HALF, HALF + 1, dtype=jnp.float32)
    kernel = jnp.exp(-(offsets**2) / (2 * theta**2))
    return kernel / kernel.sum()


def depthwise(kernel: Array, images: Array) -> Array:
    rows, columns = kernel.shape
    stacked = jnp.broadcast_to(kernel[:, :, None, None], (rows, columns, 1, CHANNELS))
    padding = [(rows // 2, rows // 2), (columns // 2, columns // 2)]
    return lax.conv_general_dilated(
        images,
        stacked,
        (1, 1),
        padding,
        dimension_numbers=LAYOUT,
        feature_group_count=CHANNELS,
    )


@jax.jit
def full_kernel(theta: Array, images: Array) -> Array:
    w = weights(theta)
    return depthwise(w[:, None] * w[None, :], images)


@jax.jit
def separable_kernel(theta: Array, images: Array) -> Array:
    w = weights(theta)
    return depthwise(w[None, :], depthwise(w[:, None], images))


@jax.jit
def toeplitz(theta: Array, images: Array) -> Array:
    blur = GaussianBlur((SIZE, SIZE, CHANNELS), HALF)
    return jax.vmap(lambda x: blur.apply(theta, x))(images)


def seconds(call: Callable[[], Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--full-batch", type=int, default=2, help="of the full kernel")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()

    theta = jnp.float32(10.0)
    images = jax.random.uniform(
        jax.random.key(0), (options.batch, SIZE, SIZE, CHANNELS)
    )
    few = images[: options.full_batch]
    expected = np.asarray(full_kernel(theta, few))
    for other in (separable_kernel, toeplitz):
        np.testing.assert_allclose(other(theta, few), expected, atol=2e-5)

    rows = {
        "161 x 161 depthwise convolution": (full_kernel, few),
        "two 1-d depthwise convolutions": (separable_kernel, images),
        "two Toeplitz products (softsde)": (toeplitz, images),
    }
    best = dict.fromkeys(rows, float("inf"))
    for function, batch in rows.values():
        jax.block_until_ready(function(theta, batch))  # compile
    for _ in range(options.rounds):
        for name, (function, batch) in rows.items():
            took = seconds(lambda f=function, b=batch: f(theta, b)) / len(batch)
            best[name] = min(best[name], took)
    ours = best["two Toeplitz products (softsde)"]
    print(f"{SIZE}x{SIZE}x{CHANNELS}, half size {HALF}, per image, float32:")
    for name, took in best.items():
        print(f"  {name:34s} {1e3 * took:9.3f} ms   {took / ours:8.1f} x softsde")


if __name__ == "__main__":
    main()

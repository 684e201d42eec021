"""Every corruption against the plainest correct way of writing it.

    python benchmarks/corruptions.py

It times `apply` on a batch of 64x64x3 images, one level for all of them, jitted,
float32. The baseline of each corruption is written in this file in the plainest way: a
product with a mask, a mean over blocks, a fast transform. Blurs have a second baseline,
the convolution with the whole kernel. It would take minutes on the batch, so it is
timed on a few images and its time multiplied. Every baseline is checked to agree with
the library before anything is timed. The two programs of one corruption take turns, and
the best time of each counts.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax import Array, lax

from softsde import corruptions

SIZE, CHANNELS, HALF = 64, 3, 80
SHAPE = (SIZE, SIZE, CHANNELS)
PATIENCE = 5.0  # seconds; slow programs run fewer rounds

Batched = Callable[[Array, Array], Array]


# The baselines: functions of a level and a batch of images.


def convolve(kernel: Array, images: Array) -> Array:
    """A convolution without a border rule: pad the images first."""
    stacked = jnp.broadcast_to(kernel[:, :, None, None], (*kernel.shape, 1, CHANNELS))
    return lax.conv_general_dilated(
        images,
        stacked,
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=CHANNELS,
    )


def padded(images: Array, rows: int, columns: int, mode: str) -> Array:
    return jnp.pad(images, ((0, 0), (rows, rows), (columns, columns), (0, 0)), mode)


def gaussian(theta: Array) -> Array:
    offsets = jnp.arange(-HALF, HALF + 1, dtype=jnp.float32)
    kernel = jnp.exp(-(offsets**2) / (2 * theta**2))
    return kernel / kernel.sum()


def whole_gaussian(mode: str) -> Batched:
    """The paper's 161 x 161 window, or the same with another border."""

    def blur(theta: Array, images: Array) -> Array:
        w = gaussian(theta)
        return convolve(w[:, None] * w[None, :], padded(images, HALF, HALF, mode))

    return blur


def separable_gaussian(mode: str) -> Batched:
    def blur(theta: Array, images: Array) -> Array:
        w = gaussian(theta)
        images = convolve(w[:, None], padded(images, HALF, 0, mode))
        return convolve(w[None, :], padded(images, 0, HALF, mode))

    return blur


def by_dct(response: Callable[[Array, np.ndarray], Array]) -> Batched:
    k = np.pi * np.arange(SIZE, dtype=np.float32) / SIZE
    squared = np.square(k)[:, None, None] + np.square(k)[None, :, None]

    def blur(theta: Array, images: Array) -> Array:
        waves = jsp.fft.dctn(images, axes=(1, 2), norm="ortho")
        weighted = waves * response(theta, squared)[None]
        return jsp.fft.idctn(weighted, axes=(1, 2), norm="ortho")

    return blur


def by_fft(response: Callable[[Array, np.ndarray, np.ndarray], Array]) -> Batched:
    rows = 2 * np.pi * np.fft.fftfreq(SIZE).astype(np.float32)[:, None, None]
    columns = 2 * np.pi * np.fft.rfftfreq(SIZE).astype(np.float32)[None, :, None]

    def blur(theta: Array, images: Array) -> Array:
        waves = jnp.fft.rfft2(images, axes=(1, 2))
        weighted = waves * response(theta, rows, columns)[None]
        return jnp.fft.irfft2(weighted, axes=(1, 2))

    return blur


def periodic_kernel(blur: Batched) -> Batched:
    """The convolution with the 64 x 64 kernel that a periodic blur makes of a point."""
    point = jnp.zeros((1, *SHAPE)).at[:, SIZE // 2, SIZE // 2].set(1.0)

    def convolution(theta: Array, images: Array) -> Array:
        kernel = blur(theta, point)[0, ::-1, ::-1, 0]
        around = ((0, 0), (SIZE // 2 - 1, SIZE // 2), (SIZE // 2 - 1, SIZE // 2))
        return convolve(kernel, jnp.pad(images, (*around, (0, 0)), "wrap"))

    return convolution


def heat(theta: Array, squared: np.ndarray) -> Array:
    return jnp.exp(-0.5 * theta**2 * squared)


def heat_waves(theta: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    return heat(theta, rows**2 + columns**2)


def streak(theta: Array, rows: np.ndarray, columns: np.ndarray) -> Array:
    """Along a row. For the highest wave either sign gives the same."""
    return jnp.sinc(theta * columns / (2 * np.pi)) + 0.0 * rows


def butterworth(theta: Array, squared: np.ndarray) -> Array:
    return 1 / (1 + (theta**2 * squared) ** 2)


def order_from_centre() -> np.ndarray:
    offset = np.square(2 * np.arange(SIZE) - (SIZE - 1))
    distance = (offset[:, None] + offset[None, :]).reshape(-1)
    return np.argsort(np.argsort(distance, kind="stable")).reshape(SIZE, SIZE, 1)


def product_with_mask(ranks: np.ndarray) -> Batched:
    def mask(theta: Array, images: Array) -> Array:
        keep = ranks >= jnp.round(theta * ranks.size)
        return images * keep.astype(jnp.float32)[None]

    return mask


def product_with_soft_mask(width: float) -> Batched:
    offset = np.square(2 * np.arange(SIZE) - (SIZE - 1))
    distance = (offset[:, None] + offset[None, :]).reshape(-1)
    nearer = np.searchsorted(np.sort(distance), distance, "left")
    as_near = np.searchsorted(np.sort(distance), distance, "right")
    place = (nearer + as_near).astype(np.float32) / (2 * distance.size)
    place = place.reshape(SIZE, SIZE, 1)

    def mask(theta: Array, images: Array) -> Array:
        a = jnp.clip(1 + (place - (1 + width) * theta) / width, 0, 1)
        return images * (6 * a**5 - 15 * a**4 + 10 * a**3)[None]

    return mask


def block_means(factor: int) -> Batched:
    """The factor is known at compile time; the library takes it from the level."""

    def coarsen(theta: Array, images: Array) -> Array:
        del theta
        blocks = images.reshape(
            -1, SIZE // factor, factor, SIZE // factor, factor, CHANNELS
        )
        means = blocks.mean(axis=(2, 4), keepdims=True)
        return jnp.broadcast_to(means, blocks.shape).reshape(images.shape)

    return coarsen


def towards_grey(theta: Array, images: Array) -> Array:
    return (1 - theta) * images + theta * images.mean(axis=-1, keepdims=True)


def leftward(theta: Array, x: Array) -> Array:
    """For `FunctionCorruption`: one image or many, with the columns at axis -2."""
    return (1 - theta) * x + theta * jnp.roll(x, -1, axis=-2)


class Case(NamedTuple):
    name: str
    corruption: corruptions.AbstractCorruption
    level: float
    plain: Batched
    what: str
    whole: Batched | None = None  # the convolution with the whole kernel


def cases() -> list[Case]:
    heat_blur = by_dct(heat)
    random_mask = corruptions.RandomMask(SHAPE, key=jax.random.key(1))
    sharp_mask = product_with_mask(order_from_centre())
    periodic_heat, periodic_streak = by_fft(heat_waves), by_fft(streak)
    return [
        Case(
            "GaussianBlur",
            corruptions.GaussianBlur(SHAPE),
            10.0,
            separable_gaussian("constant"),
            "two 1-d convolutions",
            whole_gaussian("constant"),
        ),
        Case(
            "GaussianBlur, symmetric",
            corruptions.GaussianBlur(SHAPE, padding="symmetric"),
            10.0,
            separable_gaussian("symmetric"),
            "two 1-d convolutions",
            whole_gaussian("symmetric"),
        ),
        Case(
            "HeatBlur",
            corruptions.HeatBlur(SHAPE),
            10.0,
            heat_blur,
            "fast cosine transform",
            whole_gaussian("symmetric"),
        ),
        Case(
            "HeatBlur, periodic",
            corruptions.HeatBlur(SHAPE, "fourier"),
            10.0,
            periodic_heat,
            "fast Fourier transform",
            periodic_kernel(periodic_heat),
        ),
        Case(
            "MotionBlur",
            corruptions.MotionBlur(SHAPE),
            10.0,
            periodic_streak,
            "fast Fourier transform",
            periodic_kernel(periodic_streak),
        ),
        Case(
            "SpectralFilter",
            corruptions.SpectralFilter(SHAPE, butterworth),
            3.0,
            by_dct(butterworth),
            "fast cosine transform",
        ),
        Case(
            "CenterMask",
            corruptions.CenterMask(SHAPE),
            0.5,
            sharp_mask,
            "product with the mask",
        ),
        Case(
            "SoftMask",
            corruptions.SoftMask(SHAPE, width=0.1),
            0.5,
            product_with_soft_mask(0.1),
            "product with the mask",
        ),
        Case(
            "RandomMask",
            random_mask,
            0.5,
            product_with_mask(np.asarray(random_mask.ranks)),
            "product with the mask",
        ),
        Case(
            "Downsample",
            corruptions.Downsample(SHAPE),
            4.0,
            block_means(4),
            "means over blocks",
        ),
        Case(
            "Desaturate",
            corruptions.Desaturate(),
            0.5,
            towards_grey,
            "mean over channels",
        ),
        Case(
            "Fade",
            corruptions.Fade(),
            0.5,
            lambda theta, images: (1 - theta) * images,
            "product",
        ),
        Case(
            "Scale",
            corruptions.Scale(),
            0.5,
            lambda theta, images: theta * images,
            "product",
        ),
        Case(
            "FunctionCorruption",
            corruptions.FunctionCorruption(leftward, SHAPE),
            0.5,
            leftward,
            "the function",
        ),
        Case(
            "Compose, in one basis",
            corruptions.Compose(
                corruptions.HeatBlur(SHAPE),
                corruptions.SpectralFilter(SHAPE, butterworth),
                corruptions.Relevel(corruptions.Scale(), lambda theta: 0.9**theta),
            ),
            3.0,
            lambda theta, images: (
                0.9**theta * by_dct(butterworth)(theta, heat_blur(theta, images))
            ),
            "one after the other",
        ),
        Case(
            "Compose, in two bases",
            corruptions.Compose(
                corruptions.HeatBlur(SHAPE), corruptions.CenterMask(SHAPE)
            ),
            0.5,
            lambda theta, images: sharp_mask(theta, heat_blur(theta, images)),
            "one after the other",
        ),
        Case(
            "Mix",
            corruptions.Mix(
                corruptions.Identity(),
                corruptions.HeatBlur(SHAPE),
                weights=[0.6, 0.4],
            ),
            3.0,
            lambda theta, images: 0.6 * images + 0.4 * heat_blur(theta, images),
            "weighted sum",
        ),
    ]


def check(case: Case, few: Array, ours: Batched) -> None:
    level = jnp.float32(case.level)
    found = ours(level, few)
    for baseline in filter(None, (case.plain, case.whole)):
        np.testing.assert_allclose(
            found, jax.jit(baseline)(level, few), atol=3e-5, err_msg=case.name
        )


def seconds(call: Callable[[], Array]) -> float:
    began = time.perf_counter()
    jax.block_until_ready(call())
    return time.perf_counter() - began


def best_of(rounds: int, rivals: dict[str, Callable[[], Array]]) -> dict[str, float]:
    """The best time of each; they take turns so that a busy moment hits all."""
    for call in rivals.values():
        jax.block_until_ready(call())  # compile
    best = dict.fromkeys(rivals, float("inf"))
    began = time.perf_counter()
    for _ in range(rounds):
        for name, call in rivals.items():
            best[name] = min(best[name], seconds(call))
        if time.perf_counter() - began > PATIENCE:
            break
    return best


def row(case: Case, images: Array, few: Array, rounds: int) -> str:
    """The line of one corruption in the table."""
    level = jnp.float32(case.level)
    ours = jax.jit(jax.vmap(case.corruption.apply, in_axes=(None, 0)))
    plain = jax.jit(case.plain)
    check(case, few, ours)
    best = best_of(
        rounds,
        {"ours": lambda: ours(level, images), "plain": lambda: plain(level, images)},
    )
    whole = ""
    if case.whole is not None:
        convolution = jax.jit(case.whole)
        took = best_of(2, {"whole": lambda: convolution(level, few)})["whole"]
        whole = f"{took * len(images) / len(few) / best['ours']:,.0f}"
    return (
        f"| {case.name} | {1e3 * best['ours']:.2f} | {1e3 * best['plain']:.2f} "
        f"| {case.what} | {best['plain'] / best['ours']:.2f} | {whole} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument(
        "--whole-batch", type=int, default=2, help="images for whole kernels"
    )
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--only", default="", help="corruptions whose name holds this")
    options = parser.parse_args()

    images = jax.random.uniform(jax.random.key(0), (options.batch, *SHAPE))
    few = images[: options.whole_batch]
    print(f"{SIZE}x{SIZE}x{CHANNELS}, batch {options.batch}, float32, milliseconds.\n")
    print("| | softsde | plain | the plain way | plain / softsde | kernel / softsde |")
    print("| --- | --- | --- | --- | --- | --- |")
    for case in cases():
        if options.only in case.name:
            print(row(case, images, few, options.rounds), flush=True)


if __name__ == "__main__":
    main()

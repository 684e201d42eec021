"""Images as batches of one shape, checked as they pass."""

from collections.abc import Iterable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from ._features import AbstractFeatures

_AXES = ("height", "width", "channels")


def batches_of(
    images: np.ndarray | jax.Array | Iterable, size: int, features: AbstractFeatures
) -> Iterator[tuple[np.ndarray, int]]:
    """Batches of exactly `size` images, and how many of each are real.

    The last one is filled up with zeros. Images are refused if they do not have one
    shape, the shape and the range of `features`, or if they are not finite.
    """
    rest: list[np.ndarray] = []
    waiting = 0
    for part in _checked(images, size, features):
        while len(part):
            taken, part = part[: size - waiting], part[size - waiting :]
            rest.append(taken)
            waiting += len(taken)
            if waiting == size:
                yield rest[0] if len(rest) == 1 else np.concatenate(rest), size
                rest, waiting = [], 0
    if waiting:
        # Zeros may lie outside of the range of the features: they are dropped anyway.
        rest.append(np.zeros((size - waiting, *rest[0].shape[1:]), rest[0].dtype))
        yield np.concatenate(rest), waiting


def length_of(images: np.ndarray | jax.Array | Iterable) -> int | None:
    """The number of images, or `None` if it is not known."""
    return len(images) if isinstance(images, np.ndarray | jax.Array) else None


def _parts(
    images: np.ndarray | jax.Array | Iterable, size: int
) -> Iterator[np.ndarray]:
    """The images part by part, on the host; an array may be a memory map."""
    if isinstance(images, np.ndarray | jax.Array):
        for start in range(0, len(images), size):
            yield np.asarray(images[start : start + size])
    else:
        for part in images:
            yield np.asarray(part)


def _checked(
    images: np.ndarray | jax.Array | Iterable, size: int, features: AbstractFeatures
) -> Iterator[np.ndarray]:
    shape, seen, broken = None, 0, 0
    for part in _parts(images, size):
        if part.ndim < 2 or (shape is None and len(part) == 0):
            raise ValueError(
                f"`images` holds a batch of shape {part.shape}, but"
                " `(num, height, width, channels)` is expected, with num >= 1."
            )
        if shape is None:
            _check_dtype(part.dtype)
            shape = part.shape[1:]
            _check_size(shape, features)
        if part.shape[1:] != shape:
            raise ValueError(
                f"`images` have mixed sizes: {shape}, and {part.shape[1:]} after"
                f" {seen:,} images. Resize all of them to one size first, in the way"
                " in which the reference was resized."
            )
        if len(part) == 0:
            continue
        bad = ~np.isfinite(part).reshape(len(part), -1).all(axis=1)
        broken += int(np.count_nonzero(bad))
        seen += len(part)
        if broken == 0:
            _check_range(part, features)
            yield part
        # After a broken image the rest is only counted.
    if broken:
        raise ValueError(
            f"`images` has {broken:,} images out of {seen:,} with entries that are not"
            " finite. A metric that skipped them would flatter the samples: find out"
            " why they diverged."
        )
    if seen == 0:
        raise ValueError("`images` is empty: there is nothing to extract features of.")


def _check_dtype(dtype: np.dtype) -> None:
    if not jnp.issubdtype(dtype, jnp.floating):
        raise TypeError(
            f"`images` has dtype {dtype}, but floats in [0, 1] are expected. For bytes,"
            " pass `images.astype(np.float32) / 255`."
        )


def _check_size(shape: tuple[int, ...], features: AbstractFeatures) -> None:
    if features.size == (None, None, None):
        return
    fits = len(shape) == 3 and all(
        want is None or want == got
        for want, got in zip(features.size, shape, strict=True)
    )
    if not fits:
        want = ", ".join(
            axis if length is None else str(length)
            for axis, length in zip(_AXES, features.size, strict=True)
        )
        raise ValueError(
            f"`images` are of shape {shape}, but the features `{features.name}` are"
            f" made for images of shape ({want})."
        )


def _check_range(part: np.ndarray, features: AbstractFeatures) -> None:
    low, high = features.value_range
    smallest, largest = float(part.min()), float(part.max())
    if low <= smallest and largest <= high:
        return
    if smallest < -0.5 and largest <= 1.5 and (low, high) == (0, 1):
        cure = "If they are in [-1, 1], pass `(images + 1) / 2`."
    elif largest > 2 and (low, high) == (0, 1):
        cure = "If they are in [0, 255], pass `images / 255`."
    else:
        cure = f"If they overshoot a little, pass `np.clip(images, {low:g}, {high:g})`."
    raise ValueError(
        f"`images` have entries from {smallest:.4g} to {largest:.4g}, but the features"
        f" `{features.name}` expect them in [{low:g}, {high:g}]. {cure}"
    )

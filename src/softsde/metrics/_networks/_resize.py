"""Resizes images by the conventions that published numbers depend on."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def to_bytes(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Entries of [0, 1] rounded to the levels 0 ... 255, as in an 8-bit file."""
    return jnp.floor(255 * jnp.clip(x, 0, 1) + 0.5)


def resize_tf1(
    x: Float[Array, "height width channels"], rows: int, columns: int
) -> Float[Array, "rows columns channels"]:
    """Bilinear interpolation as TensorFlow 1 had it, without any smoothing.

    Output `i` reads the input at `i height / rows`: the corner of a pixel stands for
    its centre, so that the image is shifted by half a pixel of the difference. Beyond
    the last pixel the image is constant.
    """
    x = _interpolate(x, rows, axis=0)
    return _interpolate(x, columns, axis=1)


def _interpolate(x, size: int, axis: int):
    length = x.shape[axis]
    place = jnp.arange(size, dtype=x.dtype) * (length / size)
    low = jnp.floor(place).astype(int)
    high = jnp.minimum(low + 1, length - 1)
    share = (place - low.astype(x.dtype)).reshape(
        [-1 if i == axis else 1 for i in range(3)]
    )
    bottom, top = jnp.take(x, low, axis=axis), jnp.take(x, high, axis=axis)
    return bottom + (top - bottom) * share


def resize_cubic(
    x: Float[Array, "height width channels"], rows: int, columns: int
) -> Float[Array, "rows columns channels"]:
    """Cubic convolution with `a = -1/2`, widened where the image shrinks.

    This is Pillow's `BICUBIC` on floating-point pixels, and `jax.image.resize`.
    """
    return jax.image.resize(x, (rows, columns, x.shape[2]), "cubic", antialias=True)

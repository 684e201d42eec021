r"""The named orthonormal bases, and products with a matrix along one axis of a sample.

A basis of images is over their two spatial axes, alike in every channel. `"dct"` is the
DCT-II, whose functions $\cos(\pi k (j + \frac12) / n)$ have no slope at the edges
(Neumann); it is computed as products with the orthonormal matrix, which at the sizes of
images is quicker than a fast transform and needs no complex numbers. `"fourier"` is the
periodic one in its real form (Hartley): coefficient $k$ belongs to $\cos + \sin$ of the
same wave, so coefficients are real, as many as pixels, and the transform is its own
inverse. A filter whose response is real and even acts on it entry by entry.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.fft import fftfreq

from .._types import Sample


def check_sample_shape(owner: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as plain integers, refused unless it is that of a vector or an image."""
    if not 1 <= len(shape) <= 3 or any(size < 1 for size in shape):
        raise ValueError(
            f"`{owner}` got `shape={shape}`; expected (height, width, channels), "
            "(height, width) or (dim,), all at least 1."
        )
    return tuple(int(size) for size in shape)


def spatial_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes that are places rather than channels."""
    return tuple(range(min(2, len(shape))))


def multiply_along(
    matrix: Float[Array, "out in"], x: Sample, axis: int, *, transpose: bool = False
) -> Float[Array, "..."]:
    """The matrix, or its transpose, times `x` along one axis."""
    contracted = 0 if transpose else 1
    # The sample on the left: a batch of them is then one long matrix, which XLA need
    # not transpose first. HIGHEST: a TPU would otherwise round the picture to bfloat16.
    y = lax.dot_general(
        x, matrix, (((axis,), (contracted,)), ((), ())), precision="highest"
    )
    return jnp.moveaxis(y, -1, axis)


def dct_matrix(size: int) -> np.ndarray:
    """The orthonormal DCT-II: row `k` is the `k`-th cosine."""
    k, j = np.arange(size)[:, None], np.arange(size)[None, :]
    matrix = np.sqrt(2 / size) * np.cos(np.pi * k * (2 * j + 1) / (2 * size))
    matrix[0] /= np.sqrt(2)
    return matrix


def _dct(x: Sample, *, inverse: bool) -> Sample:
    for axis in spatial_axes(x.shape):
        matrix = jnp.asarray(dct_matrix(x.shape[axis]), x.dtype)
        x = multiply_along(matrix, x, axis, transpose=inverse)
    return x


def _hartley(x: Sample) -> Sample:
    waves = jnp.fft.fftn(x, axes=spatial_axes(x.shape), norm="ortho")
    return waves.real - waves.imag


def multiply_waves(values: Float[Array, "..."], x: Sample) -> Sample:
    r"""`x` with its coefficients in the basis `"fourier"` multiplied by `values`.

    The same as there and back, in half the time: of a real signal the waves $X(k)$ and
    $X(-k)$ are conjugate, so half of them say all. A product of Hartley coefficients
    with the values $c$ is $X \mapsto e X - i\, d \bar X$ there, $e$ and $d$ the even
    and the odd part of $c$ under $k \mapsto -k$.
    """
    axes = spatial_axes(x.shape)
    if values.ndim == 0:
        return values * x
    mirrored = values
    for axis in axes:
        mirrored = jnp.roll(jnp.flip(mirrored, axis), 1, axis)
    waves = jnp.fft.rfftn(x, axes=axes)
    half = [slice(size) for size in waves.shape]
    even = 0.5 * (values + mirrored)[tuple(half)]
    odd = 0.5 * (values - mirrored)[tuple(half)]
    real = even * waves.real - odd * waves.imag
    imag = even * waves.imag - odd * waves.real
    sizes = [x.shape[axis] for axis in axes]
    return jnp.fft.irfftn(lax.complex(real, imag), s=sizes, axes=axes)


def to_basis(basis: str, x: Sample) -> Sample:
    """Coefficients of `x` in a named basis."""
    if basis == "dct":
        return _dct(x, inverse=False)
    if basis == "fourier":
        return _hartley(x)
    _check_known(basis)
    return x


def from_basis(basis: str, coefficients: Sample) -> Sample:
    """The sample of given coefficients in a named basis."""
    if basis == "dct":
        return _dct(coefficients, inverse=True)
    if basis == "fourier":
        return _hartley(coefficients)
    _check_known(basis)
    return coefficients


def _check_known(basis: str) -> None:
    if basis not in ("pixel", "every"):
        raise ValueError(
            f"There is no basis {basis!r} here, only 'pixel', 'dct', 'fourier' and "
            "'every'. For a basis of your own override `to_basis` and `from_basis`."
        )


def check_basis(owner: str, basis: str) -> None:
    """Refuses what is not a basis of waves."""
    if basis not in ("dct", "fourier"):
        raise ValueError(
            f"`{owner}` got `basis={basis!r}`; expected 'dct' (insulated edges) or "
            "'fourier' (periodic)."
        )


def frequencies(basis: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    r"""Angular frequencies, in radians a pixel, along each spatial axis.

    $\pi k / n$ in the `"dct"` basis; in the `"fourier"` one $2 \pi k / n$ brought into
    $[-\pi, \pi)$. Each is shaped to broadcast against the coefficients.
    """
    grids = []
    for axis in spatial_axes(shape):
        n = shape[axis]
        omega = np.pi * np.arange(n) / n if basis == "dct" else 2 * np.pi * fftfreq(n)
        grids.append(omega.reshape([n if a == axis else 1 for a in range(len(shape))]))
    return grids


def squared_frequencies(basis: str, shape: tuple[int, ...]) -> np.ndarray:
    r"""Squared angular frequency $\omega^2$ of each coefficient; channels of size 1."""
    grids = frequencies(basis, shape)
    return np.square(grids[0]) + (np.square(grids[1]) if len(grids) > 1 else 0.0)

r"""The named orthonormal bases, and products with a matrix along one axis of a sample.

A basis of images is over their two spatial axes, the same in every channel.

`"dct"` is the DCT-II. Its functions $\cos(\pi k (j + \frac12) / n)$ have no slope at
the edges (Neumann). It is computed as products with the orthonormal matrix: at the
sizes of images that is faster than a fast transform, and it needs no complex numbers.

`"fourier"` is the periodic basis in its real form (Hartley): coefficient $k$ belongs to
$\cos + \sin$ of the same wave. So the coefficients are real, there are as many as
pixels, and the transform is its own inverse. A filter whose response is real and even
multiplies them entry by entry.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from numpy.fft import fftfreq

from ..._types import Sample


def check_sample_shape(owner: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """`shape` as plain integers, refused unless it is of a vector or an image."""
    if not 1 <= len(shape) <= 3 or any(size < 1 for size in shape):
        raise ValueError(
            f"`{owner}` got `shape={shape}`; expected (height, width, channels), "
            "(height, width) or (dim,), all at least 1."
        )
    return tuple(int(size) for size in shape)


def spatial_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The axes of height and width, not of channels."""
    return tuple(range(min(2, len(shape))))


def multiply_along(
    matrix: Float[Array, "out in"], x: Sample, axis: int, *, transpose: bool = False
) -> Float[Array, "..."]:
    """The matrix, or its transpose, times `x` along one axis."""
    contracted = 0 if transpose else 1
    # With the sample on the left, XLA treats a batch as one long matrix and need not
    # transpose it first. Without "highest" a TPU would round the picture to bfloat16.
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

    It equals `to_basis`, product, `from_basis`, in half the time: the waves $X(k)$ and
    $X(-k)$ of a real signal are conjugate, so half of them is enough. There the product
    of Hartley coefficients with the values $c$ is $X \mapsto e X - i\, d \bar X$, with
    $e$ and $d$ the even and the odd part of $c$ under $k \mapsto -k$.
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
    """The coefficients of `x` in a named basis."""
    if basis == "dct":
        return _dct(x, inverse=False)
    if basis == "fourier":
        return _hartley(x)
    _check_known(basis)
    return x


def from_basis(basis: str, coefficients: Sample) -> Sample:
    """The sample with the given coefficients in a named basis."""
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
    """Refuses a name other than those of the two bases of waves."""
    if basis not in ("dct", "fourier"):
        raise ValueError(
            f"`{owner}` got `basis={basis!r}`; expected 'dct' (insulated edges) or "
            "'fourier' (periodic)."
        )


def frequencies(basis: str, shape: tuple[int, ...]) -> list[np.ndarray]:
    r"""Angular frequencies, in radians a pixel, along each spatial axis.

    They are $\pi k / n$ in the basis `"dct"`, and $2 \pi k / n$ brought into
    $[-\pi, \pi)$ in the basis `"fourier"`. Each is shaped to broadcast against the
    coefficients.
    """
    grids = []
    for axis in spatial_axes(shape):
        n = shape[axis]
        omega = np.pi * np.arange(n) / n if basis == "dct" else 2 * np.pi * fftfreq(n)
        grids.append(omega.reshape([n if a == axis else 1 for a in range(len(shape))]))
    return grids


def squared_frequencies(basis: str, shape: tuple[int, ...]) -> np.ndarray:
    r"""The squared angular frequency $\omega^2$ of each coefficient.

    The axis of channels has the size 1.
    """
    grids = frequencies(basis, shape)
    return np.square(grids[0]) + (np.square(grids[1]) if len(grids) > 1 else 0.0)

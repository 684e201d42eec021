"""The convolution of every network here, with gradients that are fast in a loop too.

XLA has a fast convolution on CPU for the layout `NHWC`, `HWIO`, `NHWC` alone. It brings
others into that layout first, but not those within a loop, where they are several times
slower. The gradients that JAX derives are such others. Here both derivatives are laid
out such that their *transposes*, which are the gradients, have the fast layout. So
gradients are as fast in a loop as outside: likelihoods, accumulated gradients and
several steps in one program need that. (What has the slow layout instead is a tangent
pushed forward within a loop.)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float


class _Geometry(NamedTuple):
    stride: int
    padding: int
    dilation: int
    input_dilation: int


def correlate(
    x: Float[Array, "height width in_channels"],
    weight: Float[Array, "rows columns in_channels out_channels"],
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    input_dilation: int = 1,
) -> Float[Array, "out_height out_width out_channels"]:
    """A two-dimensional cross-correlation, channels-last, in the dtype of `x`."""
    geometry = _Geometry(stride, padding, dilation, input_dilation)
    (y,) = _correlate(geometry, x[None], weight.astype(x.dtype))
    return y


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _correlate(
    geometry: _Geometry,
    x: Float[Array, "batch height width in_channels"],
    weight: Float[Array, "rows columns in_channels out_channels"],
) -> Float[Array, "batch out_height out_width out_channels"]:
    return _laid_out(geometry, x, weight, ("NHWC", "HWIO", "NHWC"))


# The zeros are symbolic, so that no convolution is spent on a derivative nobody takes.
@partial(_correlate.defjvp, symbolic_zeros=True)
def _push(geometry, primals, tangents):
    (x, weight), (dx, dweight) = primals, tangents
    y = _correlate(geometry, x, weight)
    dy = jnp.zeros_like(y)
    if not isinstance(dx, SymbolicZero):
        # JAX transposes this by exchanging I and O.
        layout = ("NHWC", "HWOI", "NHWC")
        dy += _laid_out(geometry, dx, weight.swapaxes(2, 3), layout)
    if not isinstance(dweight, SymbolicZero):
        # JAX transposes this by making IHWO the output, HWNC the kernel and CHWN the
        # input whose channels are the batch.
        layout = ("CHWN", "IHWO", "HWNC")
        image, kernel = x.transpose(3, 1, 2, 0), dweight.transpose(2, 0, 1, 3)
        dy += _laid_out(geometry, image, kernel, layout).transpose(2, 0, 1, 3)
    return y, dy


def _laid_out(
    geometry: _Geometry, x: Array, weight: Array, layout: tuple[str, str, str]
) -> Array:
    stride, padding, dilation, input_dilation = geometry
    return jax.lax.conv_general_dilated(
        x,
        weight,
        window_strides=(stride, stride),
        padding=((padding, padding), (padding, padding)),
        lhs_dilation=(input_dilation, input_dilation),
        rhs_dilation=(dilation, dilation),
        dimension_numbers=layout,
    )

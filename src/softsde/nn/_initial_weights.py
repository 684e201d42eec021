"""Initial weights, drawn in few shapes so that drawing them compiles little."""

import math
from collections.abc import Iterator
from functools import partial
from itertools import count

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PRNGKeyArray


def split(key: PRNGKeyArray) -> Iterator[PRNGKeyArray]:
    """As many keys as are asked for."""
    return (jax.random.fold_in(key, i) for i in count())


# jax compiles its random bits anew for every shape, at seconds each on a CPU: for the
# dozens of shapes in a network that is longer than to compile its training step. So
# weights are cut from blocks of two sizes: layers of a million weights and more would
# take hundreds of the small ones.
_BLOCK, _HUGE_BLOCK = 16384, 2**20


@partial(jax.jit, static_argnums=(1,))
def _block(key: PRNGKeyArray, size: int) -> Array:
    return jax.random.normal(key, (size,), jnp.float32)


@partial(jax.jit, static_argnums=(1, 2))
def _cut(blocks: list[Array], shape: tuple[int, ...], fan_in: int) -> Array:
    flat = jnp.concatenate(blocks)[: math.prod(shape)]
    return flat.reshape(shape) / fan_in**0.5


def initial_weight(
    key: PRNGKeyArray, shape: tuple[int, ...], *, fan_in: int, zero: bool = False
) -> Array:
    """Unit-variance output for unit-variance input, or zero."""
    if zero:
        return full(0.0, shape)
    number = math.prod(shape)
    size = _BLOCK if number < _HUGE_BLOCK else _HUGE_BLOCK
    keys = split(key)
    blocks = [_block(next(keys), size) for _ in range(-(-number // size))]
    return _cut(blocks, shape, fan_in)


# The larger networks hold tens of millions of weights: larger blocks for those.
_LARGE_BLOCK = 65536
# What DDPM starts at in the place of zero.
_NEARLY_ZERO = 1e-10


@jax.jit
def _uniform_block(key: PRNGKeyArray) -> Array:
    return jax.random.uniform(key, (_LARGE_BLOCK,), jnp.float32, -1.0, 1.0)


@partial(jax.jit, static_argnums=(1,))
def _cut_scaled(blocks: list[Array], shape: tuple[int, ...], bound: Array) -> Array:
    flat = jnp.concatenate(blocks)[: math.prod(shape)]
    return jnp.broadcast_to(bound, shape) * flat.reshape(shape)


def fan_average_weight(
    key: PRNGKeyArray, shape: tuple[int, ...], scale: float
) -> Array:
    """Uniform weights of variance `scale / ((fan_in + fan_out) / 2)`, as DDPM's.

    The last two axes are the channels in and out; those before, the kernel. A `scale`
    of 0 stands for 1e-10.
    """
    fan_average = math.prod(shape[:-2]) * (shape[-2] + shape[-1]) / 2
    return _uniform(key, shape, math.sqrt(3 * (scale or _NEARLY_ZERO) / fan_average))


def fan_in_uniform(key: PRNGKeyArray, shape: tuple[int, ...], fan_in: int) -> Array:
    """Uniform weights between plus and minus `1 / sqrt(fan_in)`, as torch's."""
    return _uniform(key, shape, fan_in**-0.5)


def _uniform(key: PRNGKeyArray, shape: tuple[int, ...], bound: float) -> Array:
    keys = split(key)
    num_blocks = -(-math.prod(shape) // _LARGE_BLOCK)
    blocks = [_uniform_block(next(keys)) for _ in range(num_blocks)]
    return _cut_scaled(blocks, shape, jnp.asarray(np.float32(bound)))


def full(value: float, shape: int | tuple[int, ...]) -> Array:
    # By way of numpy, which compiles nothing.
    return jnp.asarray(np.full(shape, value, np.float32))

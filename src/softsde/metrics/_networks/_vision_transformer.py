"""The vision transformer: one engine for DINOv2 and CLIP."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._layers import Conv, LayerNorm, Linear, vector
from ._weights import Weights


class TransformerSize(NamedTuple):
    """Sizes of a vision transformer."""

    width: int
    depth: int
    heads: int
    patch: int
    #: Patches a side at which the positions were trained.
    grid: int


class BlockNames(NamedTuple):
    """Names of the parts of a block in a published file."""

    norm1: str
    #: One matrix for queries, keys and values, or one for each.
    qkv: tuple[str, ...]
    out: str
    scale1: str | None
    norm2: str
    first: str
    second: str
    scale2: str | None


def quick_gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """CLIP's approximation of the GELU, `x sigmoid(1.702 x)`."""
    return x * jax.nn.sigmoid(1.702 * x)


def gelu(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The exact GELU."""
    return jax.nn.gelu(x, approximate=False)


class TransformerBlock(eqx.Module):
    """Self-attention and a perceptron, each normed before and added after.

    `x + s1 attention(norm1(x))`, then `x + s2 second(activation(first(norm2(x))))`. The
    scales `s1`, `s2` of the channels are ones in some networks.
    """

    norm1: LayerNorm
    qkv: list[Linear]
    out: Linear
    scale1: Float[Array, " width"] | None
    norm2: LayerNorm
    first: Linear
    second: Linear
    scale2: Float[Array, " width"] | None
    heads: int = eqx.field(static=True)
    activation: Callable = eqx.field(static=True)

    def __init__(
        self,
        weights: Weights,
        prefix: str,
        names: BlockNames,
        size: TransformerSize,
        *,
        eps: float,
        activation: Callable,
    ):
        """**Arguments:**

        - `weights`, `prefix`, `names`: where the layers' arrays come from.
        - `size`: of the transformer.
        - `eps`: of the norms.
        - `activation`: of the perceptron.
        """
        width = size.width
        at = lambda name: f"{prefix}.{name}"
        scale = lambda name: None if name is None else vector(weights, at(name), width)
        self.norm1 = LayerNorm(weights, at(names.norm1), width, eps)
        share = 3 * width // len(names.qkv)
        self.qkv = [Linear(weights, at(name), width, share) for name in names.qkv]
        self.out = Linear(weights, at(names.out), width, width)
        self.scale1 = scale(names.scale1)
        self.norm2 = LayerNorm(weights, at(names.norm2), width, eps)
        self.first = Linear(weights, at(names.first), width, 4 * width)
        self.second = Linear(weights, at(names.second), 4 * width, width)
        self.scale2 = scale(names.scale2)
        self.heads = size.heads
        self.activation = activation

    def __call__(self, x: Float[Array, "tokens width"]) -> Float[Array, "tokens width"]:
        h = self._attention(self.norm1(x))
        x = x + (h if self.scale1 is None else h * self.scale1[None])
        h = self.second(self.activation(self.first(self.norm2(x))))
        return x + (h if self.scale2 is None else h * self.scale2[None])

    def _attention(self, x):
        qkv = jnp.concatenate([layer(x) for layer in self.qkv], axis=-1)
        qkv = qkv.reshape(len(x), 3, self.heads, -1)
        q, k, v = qkv[:, 0], qkv[:, 1], qkv[:, 2]
        scores = jnp.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5
        mixed = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(scores, axis=-1), v)
        return self.out(mixed.reshape(x.shape))


class Tokens(eqx.Module):
    """Patches of an image as tokens, behind one token of the class, with positions."""

    patches: Conv
    token: Float[Array, " width"]
    positions: Float[Array, "places width"]
    grid: int = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "rows columns channels"], positions: Float[Array, "n w"]
    ) -> Float[Array, "tokens width"]:
        patches = self.patches(x)
        patches = patches.reshape(-1, patches.shape[-1])
        return jnp.concatenate([self.token[None], patches]) + positions


def cubic_positions(
    positions: Float[Array, "rows columns width"], grid: int, offset: float = 0.1
) -> Float[Array, "grid grid width"]:
    """Positions of a trained grid at the places of another one, by cubic convolution.

    Output `i` lies at `(i + 1/2) n / (grid + offset) - 1/2` of the `n` trained places,
    with `a = -3/4` in the kernel and the border repeated, as PyTorch interpolates.
    The offset of 0.1 is DINOv2's, which its weights have been used with ever since.
    """
    matrix = _cubic_matrix(positions.shape[0], grid, offset, positions.dtype)
    return jnp.einsum("ip,jq,pqw->ijw", matrix, matrix, positions)


def _cubic_matrix(
    trained: int, grid: int, offset: float, dtype: jnp.dtype
) -> Float[Array, "grid trained"]:
    place = (jnp.arange(grid, dtype=dtype) + 0.5) * (trained / (grid + offset)) - 0.5
    base = jnp.floor(place)
    matrix = jnp.zeros((grid, trained), dtype)
    for step in (-1, 0, 1, 2):
        source = jnp.clip(base.astype(int) + step, 0, trained - 1)
        weight = _cubic(jnp.abs(place - base - step))
        matrix = matrix.at[jnp.arange(grid), source].add(weight)
    return matrix


def _cubic(distance: Float[Array, " n"], a: float = -0.75) -> Float[Array, " n"]:
    """Keys' kernel, at distances below 2."""
    near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
    far = a * (((distance - 5) * distance + 8) * distance - 4)
    return jnp.where(distance <= 1, near, far)

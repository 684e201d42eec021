"""DiT: a transformer over the patches of an image."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import AbstractNetwork, Arguments, keep
from ._at_size import at_least_float32, block, check_dtype, compute_in
from ._attention import attention
from ._condition import ConditionEmbedding, embed, make_embedding
from ._image import check_image, image_shape
from ._initial_weights import split
from ._linear import Linear
from ._patch import patchify, unpatchify
from ._position_features import position_features
from ._time_embedding import TimeEmbedding


def layer_norm(
    x: Float[Array, "*axes features"], *, eps: float = 1e-6
) -> Float[Array, "*axes features"]:
    r"""Layer normalisation without parameters, $(x - \mu) / \sqrt{s^2 + \epsilon}$.

    Mean $\mu$ and variance $s^2$ are taken over the last axis, in at least float32.

    **Arguments:**

    - `x`: an array.
    - `eps`: added to the variance.

    **Returns:** an array shaped like `x`, of its dtype.
    """
    h = x.astype(at_least_float32(x.dtype))
    h = h - jnp.mean(h, axis=-1, keepdims=True)
    h = h * jax.lax.rsqrt(jnp.mean(h**2, axis=-1, keepdims=True) + eps)
    return h.astype(x.dtype)


class DiTBlock(eqx.Module):
    r"""Self-attention and a perceptron, scaled and shifted by the embedding.

    With $(b_1, a_1, g_1, b_2, a_2, g_2)$ linear in the embedding and $N$ the layer norm
    without parameters,

    $$h = x + g_1 \operatorname{attention}((1 + a_1) N(x) + b_1), \qquad
    y = h + g_2 \operatorname{mlp}((1 + a_2) N(h) + b_2).$$

    That linear map starts at zero, so a new block is the identity ("adaLN-Zero").

    ??? cite "Reference"

        Peebles and Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023.
    """

    modulation: Linear
    qkv: Linear
    out: Linear
    first: Linear
    second: Linear
    dropout: eqx.nn.Dropout
    num_heads: int = eqx.field(static=True)

    def __init__(
        self,
        width: int,
        num_heads: int,
        *,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `width`: features of a patch, and length of the embedding.
        - `num_heads`: heads of the attention; divides `width`.
        - `mlp_ratio`: the perceptron has a hidden layer of `mlp_ratio * width`.
        - `dropout`: probability with which a hidden feature of the perceptron is
            dropped, where the call is given a key.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.modulation = Linear(width, 6 * width, zero=True, key=next(keys))
        self.qkv = Linear(width, 3 * width, key=next(keys))
        self.out = Linear(width, width, key=next(keys))
        self.first = Linear(width, mlp_ratio * width, key=next(keys))
        self.second = Linear(mlp_ratio * width, width, key=next(keys))
        self.dropout = eqx.nn.Dropout(dropout)
        self.num_heads = num_heads

    def __call__(
        self,
        embedding: Float[Array, " width"],
        x: Float[Array, "patches width"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "patches width"]:
        """**Arguments:**

        - `embedding`: of time and condition.
        - `x`: the features of all patches.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`.
        """
        parts = self.modulation(embedding)[None]
        shift1, scale1, gate1, shift2, scale2, gate2 = jnp.split(parts, 6, axis=1)
        x = x + gate1 * self._attention(layer_norm(x) * (1 + scale1) + shift1)
        h = self.first(layer_norm(x) * (1 + scale2) + shift2)
        h = self.dropout(jax.nn.gelu(h), key=key, inference=key is None)
        return x + gate2 * self.second(h)

    def _attention(self, x: Array) -> Array:
        patches, width = x.shape
        qkv = self.qkv(x).reshape(patches, 3, self.num_heads, -1)
        y = attention(qkv[:, 0], qkv[:, 1], qkv[:, 2])
        return self.out(y.reshape(patches, width))


class DiT(AbstractNetwork):
    """A transformer over patches, told the time by adaptive layer norms (adaLN-Zero).

    ```python
    network = ss.nn.DiT((8, 12, 1), width=16, depth=2, num_heads=2, key=key)
    prediction = network(0.5, jnp.zeros((8, 12, 1)))
    ```

    Each patch becomes a vector, to which sines and cosines of its place are added.
    Equal blocks ([`softsde.nn.DiTBlock`][]) follow, and a linear map back to pixels,
    which starts at zero: a new network predicts zero. The weights of all blocks are
    stacked, and the blocks are one compiled program that runs `depth` times.

    ??? cite "Reference"

        Peebles and Xie, *Scalable Diffusion Models with Transformers*, ICCV 2023.
    """

    embedding: TimeEmbedding
    first: Linear
    blocks: DiTBlock
    modulation: Linear
    last: Linear
    condition: ConditionEmbedding | None
    shape: tuple[int, int, int] = eqx.field(static=True)
    patch_size: int = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        patch_size: int = 2,
        width: int = 256,
        depth: int = 6,
        num_heads: int = 4,
        mlp_ratio: int = 4,
        dropout: float = 0.0,
        num_classes: int | None = None,
        condition_size: int | None = None,
        compute_dtype: str | None = None,
        remat: bool = False,
        scan: bool = True,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image. Height and width are
            multiples of `patch_size`, and may differ.
        - `patch_size`: side of a patch in pixels.
        - `width`: features of a patch, a multiple of 4 and of `num_heads`.
        - `depth`: number of blocks.
        - `num_heads`: heads of the self-attention.
        - `mlp_ratio`: see [`softsde.nn.DiTBlock`][].
        - `dropout`: see [`softsde.nn.DiTBlock`][].
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `compute_dtype`: dtype inside the network, such as `"bfloat16"`; by default
            that of the images. Parameters, norms, the softmax and the embedding of the
            time are float32 in any case.
        - `remat`: whether the gradient computes the inside of each block again,
            instead of keeping it in memory.
        - `scan`: whether one compiled block runs `depth` times. `False` compiles each
            block by itself, which takes longer to compile.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for a size that does not divide into patches, a width
        that does not divide by 4 and `num_heads`, a depth that is not positive, or if
        `num_classes` and `condition_size` are both given.
        """
        self._arguments = keep(
            shape=shape,
            patch_size=patch_size,
            width=width,
            depth=depth,
            num_heads=num_heads,
            mlp_ratio=mlp_ratio,
            dropout=dropout,
            num_classes=num_classes,
            condition_size=condition_size,
            compute_dtype=compute_dtype,
            remat=remat,
            scan=scan,
        )
        self.shape = image_shape("DiT", shape)
        _check(self.shape, patch_size, width, depth, num_heads)
        check_dtype("DiT", compute_dtype)
        self.patch_size = patch_size
        keys = split(key)
        patch = patch_size**2 * self.shape[-1]
        self.embedding = TimeEmbedding(width, key=next(keys))
        self.first = Linear(patch, width, key=next(keys))
        blocks = [
            DiTBlock(
                width, num_heads, mlp_ratio=mlp_ratio, dropout=dropout, key=next(keys)
            )
            for _ in range(depth)
        ]
        self.blocks = jax.tree.map(
            lambda *leaves: jnp.stack(leaves) if eqx.is_array(leaves[0]) else leaves[0],
            *blocks,
        )
        self.modulation = Linear(width, 2 * width, zero=True, key=next(keys))
        self.last = Linear(width, patch, zero=True, key=next(keys))
        self.condition = make_embedding(
            width,
            num_classes=num_classes,
            condition_size=condition_size,
            key=next(keys),
        )

    def __call__(
        self,
        t: ScalarLike,
        x: Float[Array, "height width channels"],
        condition: Condition = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `t`: the time, in [0, 1].
        - `x`: an image.
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        check_image("DiT", x, self.shape)
        arguments = self.arguments
        told = embed("DiT", self.condition, condition)
        t = jnp.asarray(t, at_least_float32(x.dtype))
        patches = patchify(compute_in(arguments["compute_dtype"], x), self.patch_size)
        rows, columns, _ = patches.shape
        embedding = self.embedding(t, told).astype(patches.dtype)
        places = position_features(rows, columns, arguments["width"])
        h = self.first(patches.reshape(rows * columns, -1))
        h = h + jnp.asarray(places, h.dtype)
        h = self._run(embedding, h, key)
        shift, scale = jnp.split(self.modulation(embedding)[None], 2, axis=1)
        h = self.last(layer_norm(h) * (1 + scale) + shift)
        y = unpatchify(h.reshape(rows, columns, -1), self.patch_size)
        return y.astype(x.dtype)

    def _run(self, embedding: Array, h: Array, key: PRNGKeyArray | None) -> Array:
        """All blocks, as one loop over their stacked weights."""
        arguments = self.arguments
        depth = arguments["depth"]
        stacked, rest = eqx.partition(self.blocks, eqx.is_array)

        def body(h: Array, each: tuple[Any, Array]) -> tuple[Array, None]:
            weights, i = each
            part = eqx.combine(weights, rest)
            part_key = None if key is None else jax.random.fold_in(key, i)
            return block(part, arguments["remat"])(embedding, h, key=part_key), None

        unroll = 1 if arguments["scan"] else depth
        h, _ = jax.lax.scan(body, h, (stacked, jnp.arange(depth)), unroll=unroll)
        return h


def _check(
    shape: tuple[int, int, int], patch_size: int, width: int, depth: int, num_heads: int
) -> None:
    height, columns, _ = shape
    if patch_size < 1 or height % patch_size or columns % patch_size:
        raise ValueError(
            f"`DiT` got `patch_size={patch_size}` for images of {height}x{columns}; "
            "expected a positive divisor of both. Pad or crop the images, or choose "
            "another size."
        )
    if num_heads < 1 or width < 4 or width % 4 or width % num_heads:
        raise ValueError(
            f"`DiT` got `width={width}` and `num_heads={num_heads}`; the width must be "
            "a multiple of 4 (sines and cosines of rows and columns) and of "
            "`num_heads`, such as `width=256, num_heads=4`."
        )
    if depth < 1:
        raise ValueError(
            f"`DiT` got `depth={depth}`; expected a positive number of blocks, such "
            "as 6."
        )

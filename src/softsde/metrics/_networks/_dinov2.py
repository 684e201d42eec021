"""DINOv2's ViT-L/14."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._layers import Conv, LayerNorm
from ._vision_transformer import (
    BlockNames,
    Tokens,
    TransformerBlock,
    TransformerSize,
    cubic_positions,
    gelu,
)
from ._weights import Arrays, Weights, shapes_of

LARGE = TransformerSize(width=1024, depth=24, heads=16, patch=14, grid=37)
_EPS = 1e-6
_NAMES = BlockNames(
    norm1="norm1",
    qkv=("attn.qkv",),
    out="attn.proj",
    scale1="ls1.gamma",
    norm2="norm2",
    first="mlp.fc1",
    second="mlp.fc2",
    scale2="ls2.gamma",
)


class DINOv2(eqx.Module):
    """DINOv2's vision transformer, ViT-L/14 by default, whose features FD-DINOv2 takes.

    It maps one image of 224x224 pixels, normalised as for ImageNet, to the class token
    after the last norm. Positions were trained on 37x37 patches and are interpolated to
    the image's. [`softsde.metrics.dinov2_features`][] resizes, reads the published
    file, and is what the metrics take.

    ??? cite "References"

        Oquab et al., *DINOv2: Learning Robust Visual Features without Supervision*,
        TMLR 2024. Stein et al., *Exposing flaws of generative model evaluation metrics
        and their unfair treatment of diffusion models*, NeurIPS 2023.
    """

    tokens: Tokens
    blocks: list[TransformerBlock]
    norm: LayerNorm

    def __init__(self, arrays: Arrays, size: TransformerSize = LARGE):
        """**Arguments:**

        - `arrays`: by the names of `dinov2_vitl14_pretrain.pth`, such as
            `blocks.0.attn.qkv.weight`. The `mask_token` of its training is ignored.
        - `size`: width, depth, heads, patch and grid, for the smaller ones of the
            family.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights.of(arrays)
        width, places = size.width, 1 + size.grid**2
        name = "patch_embed.proj"
        self.tokens = Tokens(
            patches=Conv(
                weights, name, 3, width, size.patch, stride=size.patch, bias=True
            ),
            token=jnp.asarray(weights.take("cls_token", 1, 1, width)[0, 0]),
            positions=jnp.asarray(weights.take("pos_embed", 1, places, width)[0]),
            grid=size.grid,
        )
        self.blocks = [
            TransformerBlock(
                weights, f"blocks.{number}", _NAMES, size, eps=_EPS, activation=gelu
            )
            for number in range(size.depth)
        ]
        self.norm = LayerNorm(weights, "norm", width, _EPS)
        weights.check("DINOv2", ignore=("mask_token",))

    @staticmethod
    def shapes(size: TransformerSize = LARGE) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all its arrays, as in the published file."""
        return shapes_of(lambda weights: DINOv2(weights, size))

    def __call__(self, x: Float[Array, "side side 3"]) -> Float[Array, " width"]:
        grid = x.shape[0] // self.tokens.patches.stride
        positions = self.tokens.positions
        if grid != self.tokens.grid:
            trained = positions[1:].reshape(self.tokens.grid, self.tokens.grid, -1)
            patches = cubic_positions(trained, grid).reshape(grid**2, -1)
            positions = jnp.concatenate([positions[:1], patches])
        h = self.tokens(x, positions)
        for block in self.blocks:
            h = block(h)
        return self.norm(h)[0]

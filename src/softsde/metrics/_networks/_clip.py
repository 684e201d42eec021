"""The image encoder of CLIP's ViT-L/14."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._layers import Conv, LayerNorm, Linear, vector
from ._vision_transformer import (
    BlockNames,
    Tokens,
    TransformerBlock,
    TransformerSize,
    quick_gelu,
)
from ._weights import Arrays, Weights, shapes_of

LARGE_336 = TransformerSize(width=1024, depth=24, heads=16, patch=14, grid=24)
_EPS = 1e-5
_NAMES = BlockNames(
    norm1="layer_norm1",
    qkv=("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    out="self_attn.out_proj",
    scale1=None,
    norm2="layer_norm2",
    first="mlp.fc1",
    second="mlp.fc2",
    scale2=None,
)
# The file holds the text encoder too, and places that are but 0, 1, 2 and so on.
_OTHERS = ("text_model.", "text_projection.", "logit_scale", "position_ids")


class CLIP(eqx.Module):
    """CLIP's image encoder, ViT-L/14 at 336 pixels by default, as CMMD takes it.

    It maps one image of `14 grid` pixels a side, normalised as for CLIP, to its
    embedding of 768 numbers. [`softsde.metrics.clip_features`][] resizes, reads the
    published file, and is what the metrics take.

    ??? cite "References"

        Radford et al., *Learning Transferable Visual Models From Natural Language
        Supervision*, ICML 2021. Jayasumana et al., *Rethinking FID: Towards a Better
        Evaluation Metric for Image Generation*, CVPR 2024.
    """

    tokens: Tokens
    norm0: LayerNorm
    blocks: list[TransformerBlock]
    norm: LayerNorm
    projection: Linear

    def __init__(
        self,
        arrays: Arrays,
        size: TransformerSize = LARGE_336,
        embedding_size: int = 768,
    ):
        """**Arguments:**

        - `arrays`: by the names of `model.safetensors` of `clip-vit-large-patch14-336`,
            such as `vision_model.encoder.layers.0.mlp.fc1.weight`. Its text encoder is
            ignored.
        - `size`: width, depth, heads, patch and grid, for others of the family. The
            grid of 16 is the network at 224 pixels.
        - `embedding_size`: length of the embedding.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights.of(arrays)
        width, places = size.width, 1 + size.grid**2
        at = "vision_model.embeddings"
        self.tokens = Tokens(
            patches=Conv(
                weights,
                f"{at}.patch_embedding",
                3,
                width,
                size.patch,
                stride=size.patch,
            ),
            token=vector(weights, f"{at}.class_embedding", width),
            positions=jnp.asarray(
                weights.take(f"{at}.position_embedding.weight", places, width)
            ),
            grid=size.grid,
        )
        # Spelt so in the published files.
        self.norm0 = LayerNorm(weights, "vision_model.pre_layrnorm", width, _EPS)
        self.blocks = [
            TransformerBlock(
                weights,
                f"vision_model.encoder.layers.{number}",
                _NAMES,
                size,
                eps=_EPS,
                activation=quick_gelu,
            )
            for number in range(size.depth)
        ]
        self.norm = LayerNorm(weights, "vision_model.post_layernorm", width, _EPS)
        self.projection = Linear(
            weights, "visual_projection", width, embedding_size, bias=False
        )
        weights.check("CLIP", ignore=_OTHERS)

    @staticmethod
    def shapes(
        size: TransformerSize = LARGE_336, embedding_size: int = 768
    ) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all its arrays, as in the published file."""
        return shapes_of(lambda weights: CLIP(weights, size, embedding_size))

    def __call__(self, x: Float[Array, "side side 3"]) -> Float[Array, " size"]:
        h = self.norm0(self.tokens(x, self.tokens.positions))
        for block in self.blocks:
            h = block(h)
        return self.projection(self.norm(h[:1]))[0]

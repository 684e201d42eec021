"""The UNet: the network of the image experiments.

An encoder halves the resolution from level to level, a decoder doubles it again, and
every block of the decoder reads the output of the encoder's block opposite to it.
Everything that passes on a sum of two signals divides it by sqrt(2), so that the
scale of a feature map does not depend on the depth (Song et al., 2021). Features of
the places of pixels are added as they are.
"""

from collections.abc import Sequence
from itertools import pairwise, repeat

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import AbstractNetwork, Arguments, keep
from ._at_size import at_least_float32, block, check_dtype, compute_in
from ._condition import ConditionEmbedding, embed, make_embedding
from ._conv import Conv
from ._group_norm import GroupNorm
from ._image import check_image, image_shape
from ._initial_weights import split
from ._linear import Linear
from ._patch import patchify, unpatchify
from ._position_features import position_features
from ._residual_block import ResidualBlock
from ._self_attention import SelfAttention
from ._time_embedding import TimeEmbedding

#: Sines and cosines that tell a place: 16 frequencies of the row, and of the column.
_PLACES = 64


class Stage(eqx.Module):
    """One residual block, with self-attention after it at some levels."""

    block: ResidualBlock
    attention: SelfAttention | None

    def __call__(
        self,
        embedding: Float[Array, " embedding_size"],
        x: Float[Array, "height width in_channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width out_channels"]:
        x = self.block(embedding, x, key=key)
        return x if self.attention is None else self.attention(x)


class Merge(eqx.Module):
    """Joins the decoder's signal with the encoder's, `(h U + skip V) / sqrt(2)`.

    This is the 1x1 convolution of their concatenation. `h` may be of half the
    resolution: since a 1x1 convolution commutes with repeating pixels, `U` is applied
    before `h` is enlarged, at a quarter of the cost; the 3x3 convolutions of the block
    that follows smooth the repeated pixels.
    """

    from_decoder: Linear
    from_encoder: Linear
    factor: int = eqx.field(static=True)

    def __call__(
        self,
        h: Float[Array, "rows columns decoder_channels"],
        skip: Float[Array, "height width channels"],
    ) -> Float[Array, "height width channels"]:
        h = self.from_decoder(h)
        h = jnp.repeat(jnp.repeat(h, self.factor, axis=0), self.factor, axis=1)
        return (h + self.from_encoder(skip)) / 2**0.5


class FullResolution(eqx.Module):
    """The thin level around a UNet that works on patches.

    A patch is a vector, so the pixels on either side of its edge meet only in the
    small network's coarse grid; texture finer than a patch would be left to one linear
    map. Here a few channels at full resolution go around the patches, and a residual
    block that sees them together with what the UNet wrote into its patches has the
    last word.
    """

    embed: Linear
    unembed: Linear
    merge: Merge
    refine: ResidualBlock


class UNet(AbstractNetwork):
    """A time-conditioned convolutional network from images to images.

    ```python
    network = ss.nn.UNet((28, 28, 1), key=jax.random.key(0))
    prediction = network(jnp.array(0.5), x)  # inference, one image
    predictions = jax.vmap(lambda t, x, k: network(t, x, key=k))(ts, xs, keys)

    network = ss.nn.UNet((28, 28, 1), num_classes=10, key=jax.random.key(0))
    prediction = network(0.5, x, 7)  # of class 7
    prediction = network(0.5, x)  # of no known class; so is the label -1
    ```

    The last convolution starts at zero, so that a new network predicts zero. The
    parameters are float32 and are cast to the dtype of `x`, in which everything but
    the norms, the softmax and the features of the time is computed.

    ??? cite "References"

        Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image
        Segmentation", 2015. Song et al., "Score-Based Generative Modeling through
        Stochastic Differential Equations", 2021.
    """

    embedding: TimeEmbedding
    stem: Conv
    full_resolution: FullResolution | None
    encoder: list[list[Stage]]
    downsamplers: list[Conv]
    middle: Stage
    merges: list[list[Merge]]
    decoder: list[list[Stage]]
    norm: GroupNorm
    out: Conv
    # These are the last fields, because a model file lists its arrays in the order of
    # the fields: a network without them has the file that it had before they were.
    condition: ConditionEmbedding | None
    positions: Linear | None
    shape: tuple[int, int, int] = eqx.field(static=True)
    patch_size: int = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        base_channels: int = 32,
        channel_multipliers: Sequence[int] = (1, 2, 4),
        blocks_per_level: int | Sequence[int] = 1,
        attention_levels: Sequence[int] = (),
        middle_attention: bool = False,
        num_heads: int = 4,
        dropout: float = 0.0,
        patch_size: int = 1,
        refine_channels: int = 16,
        positions: bool = False,
        group_size: int = 8,
        num_classes: int | None = None,
        condition_size: int | None = None,
        compute_dtype: str | None = None,
        remat: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image. Height and width are
            multiples of `patch_size * 2**(levels - 1)`.
        - `base_channels`: width of the network before multiplication.
        - `channel_multipliers`: one for each level, finest first.
        - `blocks_per_level`: residual blocks on each side of a level; one number for
            all levels or one for each.
        - `attention_levels`: indices of the levels with self-attention, 0 the finest.
            The middle, between encoder and decoder, has it if the coarsest level does.
        - `middle_attention`: whether the middle has it in any case.
        - `num_heads`: heads of the self-attention.
        - `dropout`: probability with which a feature is dropped inside a block, where
            the call is given a key.
        - `patch_size`: the levels work on patches of so many pixels a side, each a
            pixel of the finest level: `2` makes a network of the same width nearly
            four times as fast. A thin level at full resolution keeps texture finer
            than a patch.
        - `refine_channels`: width of that level; unused when `patch_size` is 1.
        - `positions`: whether the network is told the row and column of each pixel of
            the finest level ([`softsde.nn.position_features`][], linearly). Without,
            a convolution knows where it is only near the borders. The cost is
            negligible, and it helps where things have their place in the image, as
            garments have.
        - `group_size`: channels to a group of every group norm.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `compute_dtype`: dtype inside the network, such as `"bfloat16"`; by default
            that of the images. Parameters, norms, the softmax and the embedding of the
            time are float32 in any case.
        - `remat`: whether the gradient computes the inside of each block again,
            instead of keeping it in memory.
        - `key`: for the initial weights.

        **Raises:** `ValueError` if the shape does not divide by the coarsest pixel, or
        the numbers of channels by `group_size` or `num_heads`; or if `num_classes` and
        `condition_size` are both given.
        """
        self._arguments = keep(
            shape=shape,
            base_channels=base_channels,
            channel_multipliers=channel_multipliers,
            blocks_per_level=blocks_per_level,
            attention_levels=attention_levels,
            middle_attention=middle_attention,
            num_heads=num_heads,
            dropout=dropout,
            patch_size=patch_size,
            refine_channels=refine_channels,
            positions=positions,
            group_size=group_size,
            num_classes=num_classes,
            condition_size=condition_size,
            compute_dtype=compute_dtype,
            remat=remat,
        )
        check_dtype("UNet", compute_dtype)
        shape = image_shape("UNet", shape)
        levels = len(channel_multipliers)
        _check_shape(shape, patch_size, levels)
        if isinstance(blocks_per_level, int):
            blocks_per_level = (blocks_per_level,) * levels
        if len(blocks_per_level) != levels:
            raise ValueError(
                f"`blocks_per_level` must be one number, or one for each of the "
                f"{levels} levels of `channel_multipliers`; got {blocks_per_level}."
            )
        if min(blocks_per_level) < 1:
            raise ValueError(
                f"`blocks_per_level` must be at least 1; got {blocks_per_level}."
            )
        for level in attention_levels:
            if not 0 <= level < levels:
                raise ValueError(
                    f"`attention_levels` holds {level}, but the levels are 0 (the "
                    f"finest) to {levels - 1}."
                )

        keys = split(key)
        widths = [base_channels * m for m in channel_multipliers]
        embedding_size = 4 * base_channels

        def make_block(in_channels: int, out_channels: int) -> ResidualBlock:
            return ResidualBlock(
                in_channels,
                out_channels,
                embedding_size,
                dropout=dropout,
                group_size=group_size,
                key=next(keys),
            )

        def make_stage(level: int, attends: bool) -> Stage:
            width, attention = widths[level], None
            if attends:
                attention = SelfAttention(
                    width, num_heads, group_size=group_size, key=next(keys)
                )
            return Stage(make_block(width, width), attention)

        def make_merge(decoder: int, encoder: int, factor: int) -> Merge:
            return Merge(
                Linear(decoder, encoder, key=next(keys)),
                Linear(encoder, encoder, key=next(keys)),
                factor,
            )

        self.embedding = TimeEmbedding(embedding_size, key=next(keys))
        finest = widths[0] if patch_size == 1 else refine_channels
        self.stem = Conv(shape[-1], finest, key=next(keys))
        if patch_size == 1:
            self.full_resolution = None
        else:
            patch = patch_size**2 * finest
            self.full_resolution = FullResolution(
                embed=Linear(patch, widths[0], key=next(keys)),
                unembed=Linear(widths[0], patch, key=next(keys)),
                merge=make_merge(finest, finest, 1),
                refine=make_block(finest, finest),
            )
        self.encoder = [
            [make_stage(level, level in attention_levels) for _ in range(blocks)]
            for level, blocks in enumerate(blocks_per_level)
        ]
        self.downsamplers = [
            Conv(fine, coarse, stride=2, key=next(keys))
            for fine, coarse in pairwise(widths)
        ]
        coarsest = levels - 1
        self.middle = make_stage(
            coarsest, middle_attention or coarsest in attention_levels
        )
        # The decoder's first block of a level takes what comes from the level below.
        self.merges = [
            [
                make_merge(widths[level + 1], widths[level], 2)
                if i == 0 and level + 1 < levels
                else make_merge(widths[level], widths[level], 1)
                for i in range(blocks)
            ]
            for level, blocks in enumerate(blocks_per_level)
        ]
        self.decoder = [
            [make_stage(level, level in attention_levels) for _ in range(blocks)]
            for level, blocks in enumerate(blocks_per_level)
        ]
        self.norm = GroupNorm(finest, group_size)
        self.out = Conv(finest, shape[-1], zero=True, key=next(keys))
        # The last keys: the other weights are those of a network without these.
        self.condition = make_embedding(
            embedding_size,
            num_classes=num_classes,
            condition_size=condition_size,
            key=next(keys),
        )
        # Not zero: from zero, the loss of garments was smaller after 1,300 steps, but
        # the distance of the samples was larger.
        self.positions = (
            Linear(_PLACES, widths[0], key=next(keys)) if positions else None
        )
        self.shape = shape
        self.patch_size = patch_size

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
        check_image("UNet", x, self.shape)
        keys = repeat(None) if key is None else split(key)
        t = jnp.asarray(t, at_least_float32(x.dtype))
        told = embed("UNet", self.condition, condition)
        arguments = self.arguments
        remat = arguments["remat"]
        image = compute_in(arguments["compute_dtype"], x)
        embedding = self.embedding(t, told).astype(image.dtype)

        h = image = self.stem(image)
        if self.full_resolution is not None:
            h = self.full_resolution.embed(patchify(image, self.patch_size))
        if self.positions is not None:
            rows, columns, _ = h.shape
            places = position_features(rows, columns, _PLACES)
            h = h + self.positions(jnp.asarray(places, h.dtype)).reshape(h.shape)
        skips = []
        for level, stages in enumerate(self.encoder):
            if level > 0:
                h = self.downsamplers[level - 1](h)
            for stage in stages:
                h = block(stage, remat)(embedding, h, key=next(keys))
                skips.append(h)
        h = block(self.middle, remat)(embedding, h, key=next(keys))
        for merges, stages in zip(
            reversed(self.merges), reversed(self.decoder), strict=True
        ):
            for merge, stage in zip(merges, stages, strict=True):
                h = merge(h, skips.pop())
                h = block(stage, remat)(embedding, h, key=next(keys))
        if self.full_resolution is not None:
            h = unpatchify(self.full_resolution.unembed(h), self.patch_size)
            h = self.full_resolution.merge(h, image)
            refine = block(self.full_resolution.refine, remat)
            h = refine(embedding, h, key=next(keys))
        return self.out(jax.nn.silu(self.norm(h))).astype(x.dtype)


def _check_shape(shape: tuple[int, int, int], patch_size: int, levels: int) -> None:
    coarsest = patch_size * 2 ** (levels - 1)
    height, width, _ = shape
    if height % coarsest or width % coarsest:
        choices = [
            f"{h}x{w}"
            for h in _neighbours(height, coarsest)
            for w in _neighbours(width, coarsest)
        ]
        raise ValueError(
            f"a UNet of {levels} levels on {patch_size}x{patch_size} patches halves "
            f"the image {levels - 1} times, so height and width must be multiples of "
            f"{coarsest}; got {height}x{width}. Pad or crop the images to "
            f"{' or '.join(choices)}, or use fewer `channel_multipliers` or a smaller "
            f"`patch_size`."
        )


def _neighbours(size: int, multiple: int) -> list[int]:
    """The multiples on either side of a size."""
    below = size // multiple * multiple
    if below == size:
        return [size]
    return [below, below + multiple] if below else [below + multiple]

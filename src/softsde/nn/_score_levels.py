"""The levels of NCSN++ and DDPM++: their parts, how these are made, and their names."""

from collections.abc import Iterator

import equinox as eqx
from jaxtyping import Array, Float, PRNGKeyArray

from ._conv import Conv
from ._group_norm import GroupNorm
from ._linear import Linear
from ._pixel_attention import PixelAttention
from ._published import KERNEL, POINTWISE, VECTOR, Path, weight_and_bias
from ._resample import Downsample, Upsample
from ._score_block import ACTIVATIONS, ScoreBlock
from ._score_norm import score_norm
from ._score_options import ScoreOptions

Keys = Iterator[PRNGKeyArray]


class ScoreHead(eqx.Module):
    """A group norm, the activation and a 3x3 convolution."""

    norm: GroupNorm
    conv: Conv
    activation: str = eqx.field(static=True)

    def __call__(
        self, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "height width out_channels"]:
        return self.conv(ACTIVATIONS[self.activation](self.norm(x)))


class ScoreStage(eqx.Module):
    """One residual block, with self-attention after it at some levels."""

    block: ScoreBlock
    attention: PixelAttention | None

    @property
    def out_channels(self) -> int:
        """The number of channels that it gives."""
        return self.block.out_channels

    def __call__(
        self,
        embedding: Float[Array, " embedding_size"] | None,
        x: Float[Array, "height width in_channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width out_channels"]:
        x = self.block(embedding, x, key=key)
        return x if self.attention is None else self.attention(x)


class EncoderLevel(eqx.Module):
    """The encoder's blocks at one resolution, and the way to the next."""

    stages: list[ScoreStage]
    down: ScoreBlock | Downsample | None
    pyramid: Downsample | None
    combine: Linear | None


class DecoderLevel(eqx.Module):
    """The decoder's blocks at one resolution, and the way to the next."""

    blocks: list[ScoreBlock]
    attention: PixelAttention | None
    pyramid: Upsample | None
    head: ScoreHead | None
    up: ScoreBlock | Upsample | None


def stage_modules(path: Path, stage: ScoreStage) -> Iterator[tuple[Path, dict]]:
    yield (*path, "block"), stage.block.state_names()
    if stage.attention is not None:
        yield (*path, "attention"), stage.attention.state_names()


def encoder_modules(path: Path, level: EncoderLevel) -> Iterator[tuple[Path, dict]]:
    for i, stage in enumerate(level.stages):
        yield from stage_modules((*path, "stages", i), stage)
    if level.down is not None:
        yield (*path, "down"), level.down.state_names()
    # The original numbers a pyramid only where it has a convolution.
    if level.pyramid is not None and level.pyramid.conv is not None:
        yield (*path, "pyramid"), level.pyramid.state_names()
    if level.combine is not None:
        yield (*path, "combine"), weight_and_bias("Conv_0.", "", POINTWISE)


def decoder_modules(path: Path, level: DecoderLevel) -> Iterator[tuple[Path, dict]]:
    for i, block in enumerate(level.blocks):
        yield (*path, "blocks", i), block.state_names()
    if level.attention is not None:
        yield (*path, "attention"), level.attention.state_names()
    # The original numbers a pyramid only where it has a convolution.
    if level.pyramid is not None and level.pyramid.conv is not None:
        yield (*path, "pyramid"), level.pyramid.state_names()
    if level.head is not None:
        yield from head_modules((*path, "head"))
    if level.up is not None:
        yield (*path, "up"), level.up.state_names()


def head_modules(path: Path) -> Iterator[tuple[Path, dict]]:
    yield (*path, "norm"), weight_and_bias("", "", VECTOR)
    yield (*path, "conv"), weight_and_bias("", "", KERNEL)


class LevelMaker:
    """Makes the parts of a network, with its options and a key for each."""

    def __init__(self, options: ScoreOptions, keys: Keys):
        self.options, self.keys = options, keys

    def block(self, in_channels: int, out_channels: int, resample=None) -> ScoreBlock:
        options = self.options
        return ScoreBlock(
            in_channels,
            out_channels,
            4 * options.width,
            kind=options.block,
            resample=resample,
            fir=options.fir if options.block == "biggan" else None,
            rescale=options.skip_rescale,
            init_scale=options.init_scale,
            activation=options.activation,
            dropout=options.dropout,
            key=next(self.keys),
        )

    def attention(self, channels: int) -> PixelAttention:
        return PixelAttention(
            channels,
            rescale=self.options.skip_rescale,
            init_scale=self.options.init_scale,
            key=next(self.keys),
        )

    def stage(self, in_channels: int, out_channels: int, attends: bool) -> ScoreStage:
        block = self.block(in_channels, out_channels)
        return ScoreStage(block, self.attention(out_channels) if attends else None)

    def down(self, channels: int) -> ScoreBlock | Downsample:
        if self.options.block == "biggan":
            return self.block(channels, channels, "down")
        return Downsample(
            channels,
            with_conv=self.options.resample_with_conv,
            fir=self.options.fir,
            key=next(self.keys),
        )

    def up(self, channels: int) -> ScoreBlock | Upsample:
        if self.options.block == "biggan":
            return self.block(channels, channels, "up")
        return Upsample(
            channels,
            with_conv=self.options.resample_with_conv,
            fir=self.options.fir,
            key=next(self.keys),
        )

    def input_pyramid(
        self, pyramid: int, channels: int
    ) -> tuple[Downsample | None, Linear | None]:
        """The next level of the input, and how it enters the encoder."""
        options = self.options
        if options.progressive_input == "none":
            return None, None
        if options.progressive_input == "residual":
            down = Downsample(
                pyramid, channels, with_conv=True, fir=options.fir, key=next(self.keys)
            )
            return down, None
        down = Downsample(
            pyramid, with_conv=False, fir=options.fir, key=next(self.keys)
        )
        return down, Linear(pyramid, channels, fan_average=1.0, key=next(self.keys))

    def output_pyramid(
        self, pyramid: int, channels: int, image_channels: int, *, first: bool
    ) -> tuple[Upsample | None, ScoreHead | None]:
        """Makes the parts that enlarge the output and add this level's part to it."""
        options = self.options
        if options.progressive == "none":
            return None, None
        skip = options.progressive == "output_skip"
        up = head = None
        if not first:
            out = pyramid if skip else channels
            up = Upsample(
                pyramid, out, with_conv=not skip, fir=options.fir, key=next(self.keys)
            )
        if skip:
            head = self.head(channels, image_channels, options.init_scale)
        elif first:
            head = self.head(channels, channels, 1.0)
        return up, head

    def head(self, channels: int, out_channels: int, scale: float) -> ScoreHead:
        conv = Conv(channels, out_channels, fan_average=scale, key=next(self.keys))
        return ScoreHead(score_norm(channels), conv, self.options.activation)

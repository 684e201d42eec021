"""The engine of NCSN++ and DDPM++: one network, whose options are data.

An encoder halves the resolution from level to level, a decoder doubles it again and
reads every feature map of the encoder. Beside them a pyramid of the input may enter the
encoder at every level, and a pyramid of the output may collect what the decoder says at
every level (Song et al., 2021, Appendix H).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise, repeat
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments
from ._condition import ConditionEmbedding, embed, make_embedding
from ._fourier_embedding import FourierEmbedding
from ._layers import (
    Conv,
    GroupNorm,
    Linear,
    at_least_float32,
    check_image,
    image_shape,
    split,
)
from ._pixel_attention import PixelAttention
from ._positional_embedding import positional_embedding
from ._published import (
    KERNEL,
    POINTWISE,
    TRANSPOSED,
    VECTOR,
    AbstractPublished,
    Constant,
    Path,
    Place,
    StateNames,
    below,
    places,
    weight_and_bias,
)
from ._resample import Downsample, Upsample
from ._score_block import ACTIVATIONS, ScoreBlock
from ._score_norm import score_norm
from ._score_options import ScoreOptions
from ._sees import AbstractSees

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


class ScoreNet(eqx.Module):
    """NCSN++ or DDPM++, as the options say."""

    fourier: FourierEmbedding | None
    dense: list[Linear]
    stem: Conv
    encoder: list[EncoderLevel]
    middle: list[ScoreStage]
    decoder: list[DecoderLevel]
    head: ScoreHead | None
    condition: ConditionEmbedding | None
    owner: str = eqx.field(static=True)
    shape: tuple[int, int, int] = eqx.field(static=True)
    options: ScoreOptions = eqx.field(static=True)

    def __init__(
        self,
        owner: str,
        shape: tuple[int, int, int],
        options: ScoreOptions,
        *,
        key: PRNGKeyArray,
    ):
        options.check(owner, shape)
        self.owner, self.shape, self.options = owner, shape, options
        keys = split(key)
        parts = _Parts(options, keys)
        height, _, channels = shape
        width = options.width
        widths = [width * multiplier for multiplier in options.channel_multipliers]
        coarsest = len(widths) - 1

        features = 2 * width if options.embedding == "fourier" else width
        self.fourier = (
            FourierEmbedding(width, scale=options.fourier_scale, key=next(keys))
            if options.embedding == "fourier"
            else None
        )
        sizes = [features, 4 * width, 4 * width] if options.conditional else [features]
        self.dense = [
            Linear(a, b, fan_average=1.0, key=next(keys)) for a, b in pairwise(sizes)
        ]
        self.stem = Conv(channels, width, fan_average=1.0, key=next(keys))

        # The channels of every feature map that the decoder will read.
        skips, current, pyramid = [width], width, channels
        self.encoder = []
        for level, out in enumerate(widths):
            attends = height // 2**level in options.attention_resolutions
            stages = []
            for _ in range(options.blocks_per_level):
                stages.append(parts.stage(current, out, attends))
                current = out
                skips.append(current)
            down = pyramid_down = combine = None
            if level < coarsest:
                down = parts.down(current)
                pyramid_down, combine = parts.input_pyramid(pyramid, current)
                if options.progressive_input == "residual":
                    pyramid = current
                elif combine is not None and options.progressive_combine == "cat":
                    current *= 2
                skips.append(current)
            self.encoder.append(EncoderLevel(stages, down, pyramid_down, combine))

        self.middle = [
            parts.stage(current, current, True),
            parts.stage(current, current, False),
        ]

        self.decoder = []
        pyramid = 0
        for level, out in reversed(list(enumerate(widths))):
            blocks = []
            for _ in range(options.blocks_per_level + 1):
                blocks.append(parts.block(current + skips.pop(), out))
                current = out
            attends = height // 2**level in options.attention_resolutions
            attention = parts.attention(current) if attends else None
            pyramid_up, head = parts.output_pyramid(
                pyramid, current, channels, first=level == coarsest
            )
            skip = options.progressive == "output_skip"
            pyramid = channels if skip else current
            up = parts.up(current) if level > 0 else None
            self.decoder.append(DecoderLevel(blocks, attention, pyramid_up, head, up))

        self.head = None
        if options.progressive != "output_skip":
            self.head = parts.head(current, channels, options.init_scale)
        # The last key: the other weights are those of a network without conditions.
        self.condition = make_embedding(
            4 * width,
            num_classes=options.num_classes,
            condition_size=options.condition_size,
            key=next(keys),
        )

    @property
    def levels(self) -> Float[np.ndarray, " num_scales"]:
        """The geometric levels of the noise, from the largest to the smallest."""
        ends = np.log(self.options.sigma_max), np.log(self.options.sigma_min)
        return np.exp(np.linspace(*ends, self.options.num_scales))

    def __call__(
        self,
        seen: ScalarLike,
        x: Float[Array, "height width channels"],
        condition: Condition,
        *,
        key: PRNGKeyArray | None,
    ) -> Float[Array, "height width channels"]:
        check_image(self.owner, x, self.shape)
        options = self.options
        keys = repeat(None) if key is None else split(key)
        seen = jnp.asarray(seen, at_least_float32(x.dtype))
        embedding = self._embedding(seen, condition)
        compute = options.dtype(x.dtype)
        if embedding is not None:
            embedding = embedding.astype(compute)
        image = x if options.centered else 2 * x - 1
        output = self._body(embedding, image.astype(compute), keys).astype(x.dtype)
        if options.scale_by_sigma:
            output = output / self._sigma(seen).astype(x.dtype)
        return output

    def _embedding(self, seen: Array, condition: Condition) -> Array | None:
        """The vector that the blocks read, before its activation."""
        told = embed(self.owner, self.condition, condition)
        if not self.dense:
            return None
        features = (
            positional_embedding(seen, self.options.width)
            if self.fourier is None
            else self.fourier(jnp.log(seen))
        )
        first, second = self.dense
        embedding = second(ACTIVATIONS[self.options.activation](first(features)))
        return embedding if told is None else embedding + told.astype(embedding.dtype)

    def _sigma(self, seen: Array) -> Array:
        """The noise that the output is divided by."""
        if self.fourier is not None:
            return seen
        index = jnp.clip(seen.astype(jnp.int32), 0, self.options.num_scales - 1)
        return jnp.asarray(self.levels, seen.dtype)[index]

    def _body(self, embedding: Array | None, x: Array, keys) -> Array:
        options = self.options

        def run(part, h, key=None):
            """A block or a stage, whose inner values may be computed again."""
            part = eqx.filter_checkpoint(part) if options.remat else part
            return part(embedding, h, key=key)

        def add(pyramid, h):
            total = pyramid + h
            return total / 2**0.5 if options.skip_rescale else total

        pyramid, h = x, self.stem(x)
        skips = [h]
        for level in self.encoder:
            nothing = [None] * len(level.stages)
            skips += _through(level.stages, h, nothing, run, keys, options.scan)
            h = skips[-1]
            if level.down is None:
                continue
            if isinstance(level.down, ScoreBlock):
                h = run(level.down, h, next(keys))
            else:
                h = level.down(h)
            if level.pyramid is not None:
                pyramid = level.pyramid(pyramid)
                if level.combine is None:
                    h = pyramid = add(pyramid, h)
                else:
                    entered = level.combine(pyramid)
                    both = options.progressive_combine == "cat"
                    h = jnp.concatenate([entered, h], -1) if both else entered + h
            skips.append(h)

        for stage in self.middle:
            h = run(stage, h, next(keys))

        collected = h  # the coarsest level replaces it
        for level in self.decoder:
            beside = [skips.pop() for _ in level.blocks]
            h = _through(level.blocks, h, beside, run, keys, options.scan)[-1]
            if level.attention is not None:
                h = level.attention(h)
            if level.pyramid is None and level.head is not None:
                collected = level.head(h)
            elif level.pyramid is not None and level.head is not None:
                collected = level.pyramid(collected) + level.head(h)
            elif level.pyramid is not None:
                h = collected = add(level.pyramid(collected), h)
            if isinstance(level.up, ScoreBlock):
                h = run(level.up, h, next(keys))
            elif level.up is not None:
                h = level.up(h)
        return collected if self.head is None else self.head(h)

    def state_names(self, path: Path) -> StateNames:
        """The names of the original, which numbers its modules in order."""
        constant = {"sigmas": Constant(self.levels)}
        numbered = (
            below(f"all_modules.{number}.", path + inner_path, names)
            for number, (inner_path, names) in enumerate(self._modules())
        )
        return constant | {name: place for part in numbered for name, place in part}

    def _modules(self) -> Iterator[tuple[Path, dict[str, Place]]]:
        """Every module of the original in its order: its path, and its names."""
        if self.fourier is not None:
            yield ("fourier",), places(("W", "frequencies", VECTOR))
        for i in range(len(self.dense)):
            yield ("dense", i), weight_and_bias("", "", TRANSPOSED)
        yield ("stem",), weight_and_bias("", "", KERNEL)
        for i, level in enumerate(self.encoder):
            yield from _encoder_modules(("encoder", i), level)
        for i, stage in enumerate(self.middle):
            yield from _stage_modules(("middle", i), stage)
        for i, level in enumerate(self.decoder):
            yield from _decoder_modules(("decoder", i), level)
        if self.head is not None:
            yield from _head_modules(("head",))


def _stage_modules(path: Path, stage: ScoreStage) -> Iterator[tuple[Path, dict]]:
    yield (*path, "block"), stage.block.state_names()
    if stage.attention is not None:
        yield (*path, "attention"), stage.attention.state_names()


def _encoder_modules(path: Path, level: EncoderLevel) -> Iterator[tuple[Path, dict]]:
    for i, stage in enumerate(level.stages):
        yield from _stage_modules((*path, "stages", i), stage)
    if level.down is not None:
        yield (*path, "down"), level.down.state_names()
    # The original numbers a pyramid only where it has a convolution.
    if level.pyramid is not None and level.pyramid.conv is not None:
        yield (*path, "pyramid"), level.pyramid.state_names()
    if level.combine is not None:
        yield (*path, "combine"), weight_and_bias("Conv_0.", "", POINTWISE)


def _decoder_modules(path: Path, level: DecoderLevel) -> Iterator[tuple[Path, dict]]:
    for i, block in enumerate(level.blocks):
        yield (*path, "blocks", i), block.state_names()
    if level.attention is not None:
        yield (*path, "attention"), level.attention.state_names()
    # The original numbers a pyramid only where it has a convolution.
    if level.pyramid is not None and level.pyramid.conv is not None:
        yield (*path, "pyramid"), level.pyramid.state_names()
    if level.head is not None:
        yield from _head_modules((*path, "head"))
    if level.up is not None:
        yield (*path, "up"), level.up.state_names()


def _head_modules(path: Path) -> Iterator[tuple[Path, dict]]:
    yield (*path, "norm"), weight_and_bias("", "", VECTOR)
    yield (*path, "conv"), weight_and_bias("", "", KERNEL)


def _through(
    parts: Sequence[Any],
    h: Array,
    beside: Sequence[Array | None],
    run: Callable[..., Array],
    keys: Keys,
    scan: bool,
) -> list[Array]:
    """The outputs of parts in a row, each of which reads a map beside the last output.

    With `scan`, parts that are alike are one loop over their stacked arrays.
    """
    kinds, channels = [], h.shape[-1]
    for i, part in enumerate(parts):
        # Parts are alike only if they also read equally many channels of `h`.
        kinds.append((_kind(part), channels) if scan else i)
        channels = part.out_channels

    def advance(h, part, other, key):
        h = h if other is None else jnp.concatenate([h, other], -1)
        return run(part, h, key)

    outputs: list[Array] = []
    for _, places_alike in groupby(range(len(parts)), key=kinds.__getitem__):
        alike = list(places_alike)
        drawn = [next(keys) for _ in alike]
        if len(alike) == 1:
            h = advance(h, parts[alike[0]], beside[alike[0]], drawn[0])
            outputs.append(h)
            continue
        static = eqx.filter(parts[alike[0]], eqx.is_array, inverse=True)
        rows = [
            (eqx.filter(parts[i], eqx.is_array), beside[i], key)
            for i, key in zip(alike, drawn, strict=True)
        ]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *rows)

        def body(h, row, static=static):
            arrays, other, key = row
            h = advance(h, eqx.combine(arrays, static), other, key)
            return h, h

        h, maps = jax.lax.scan(body, h, stacked)
        outputs += [maps[i] for i in range(len(alike))]
    return outputs


def _kind(part: Any) -> tuple:
    """Equal for parts that differ in the values of their arrays alone."""
    leaves, structure = jax.tree.flatten(part)
    return structure, tuple(
        (leaf.shape, leaf.dtype) if eqx.is_array(leaf) else leaf for leaf in leaves
    )


class _Parts:
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


def make_score_net(owner: str, arguments: Arguments, *, key: PRNGKeyArray) -> ScoreNet:
    """The network that the arguments of NCSN++ or DDPM++ ask for."""
    options = dict(arguments)
    shape = image_shape(owner, options.pop("shape"))
    return ScoreNet(owner, shape, ScoreOptions(**options), key=key)


class AbstractScoreNetwork(AbstractPublished):
    """NCSN++ or DDPM++: the same network with other defaults."""

    net: eqx.AbstractVar[ScoreNet]

    @property
    def sees(self) -> AbstractSees:
        """The scalar that the network is given as the time."""
        return self.net.options.sees()

    def __call__(
        self,
        t: ScalarLike,
        x: Float[Array, "height width channels"],
        condition: Condition = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `t`: the scalar that `sees` says, which [`softsde.Denoiser`][] computes.
        - `x`: an image.
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        return self.net(t, x, condition, key=key)

    def state_names(self) -> StateNames:
        """The names of the original's state dict, in its order, with their places.

        A condition has none in the original: its weights stay as they are.
        """
        return self.net.state_names(("net",))

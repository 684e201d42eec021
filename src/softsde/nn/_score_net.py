"""The engine of NCSN++ and DDPM++: one network, whose options are data.

An encoder halves the resolution from level to level, a decoder doubles it again and
reads every feature map of the encoder. Beside them a pyramid of the input may enter the
encoder at every level, and a pyramid of the output may collect what the decoder says at
every level (Song et al., 2021, Appendix H)."""

from collections.abc import Iterator
from itertools import pairwise, repeat

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments
from ._at_size import at_least_float32
from ._condition import ConditionEmbedding, embed, make_embedding
from ._conv import Conv
from ._fourier_embedding import FourierEmbedding
from ._image import check_image, image_shape
from ._in_a_row import through
from ._initial_weights import split
from ._linear import Linear
from ._positional_embedding import positional_embedding
from ._published import (
    KERNEL,
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
from ._score_block import ACTIVATIONS, ScoreBlock
from ._score_levels import (
    DecoderLevel,
    EncoderLevel,
    LevelMaker,
    ScoreHead,
    ScoreStage,
    decoder_modules,
    encoder_modules,
    head_modules,
    stage_modules,
)
from ._score_options import ScoreOptions
from ._sees import AbstractSees


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
        parts = LevelMaker(options, keys)
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
            skips += through(level.stages, h, nothing, run, keys, options.scan)
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
            h = through(level.blocks, h, beside, run, keys, options.scan)[-1]
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
            yield from encoder_modules(("encoder", i), level)
        for i, stage in enumerate(self.middle):
            yield from stage_modules(("middle", i), stage)
        for i, level in enumerate(self.decoder):
            yield from decoder_modules(("decoder", i), level)
        if self.head is not None:
            yield from head_modules(("head",))


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

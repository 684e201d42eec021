"""The RefineNet of NCSN and NCSNv2, and what the two have in common."""

import abc
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments
from ._at_size import block, compute_in
from ._condition import ConditionEmbedding, embed, make_embedding
from ._conv import Conv
from ._image import check_image, image_shape
from ._initial_weights import split
from ._published import AbstractPublished
from ._refine import Level, MakeNorm, NCSNBlock, Norm, Parts, RefineBlock, conv_names
from ._sees import SeesLevel, SeesNearest


class RefineNet(eqx.Module):
    """The body of NCSN and NCSNv2: a dilated residual encoder, then a RefineNet.

    The encoder halves the resolution once; its last two levels spread their kernels
    instead, by 2 and by 4.
    """

    begin_conv: Conv
    res1: list[NCSNBlock]
    res2: list[NCSNBlock]
    res3: list[NCSNBlock]
    res4: list[NCSNBlock]
    refine1: RefineBlock
    refine2: RefineBlock
    refine3: RefineBlock
    refine4: RefineBlock
    normalizer: Norm
    end_conv: Conv

    def __init__(
        self,
        channels: int,
        width: int,
        make_norm: MakeNorm,
        *,
        norms_everywhere: bool,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `channels`: of an image.
        - `width`: channels of the first and the last level; the others have twice that.
        - `make_norm`: `make_norm(channels, key=key)` makes a norm.
        - `norms_everywhere`: whether the blocks of the RefineNet have norms, too.
        - `key`: for the initial weights.
        """
        keys = split(key)
        wide = 2 * width

        def level(
            in_channels: int, out_channels: int, dilation: int | None, down: bool
        ) -> list[NCSNBlock]:
            return [
                NCSNBlock(
                    fan,
                    out_channels,
                    make_norm,
                    down=down and i == 0,
                    dilation=dilation,
                    key=next(keys),
                )
                for i, fan in enumerate((in_channels, out_channels))
            ]

        def refine(in_channels: Sequence[int], out_channels: int, last: bool = False):
            norm = make_norm if norms_everywhere else None
            return RefineBlock(
                in_channels, out_channels, norm, last=last, key=next(keys)
            )

        self.begin_conv = Conv(channels, width, uniform=True, key=next(keys))
        self.res1 = level(width, width, None, down=False)
        self.res2 = level(width, wide, None, down=True)
        self.res3 = level(wide, wide, 2, down=True)
        self.res4 = level(wide, wide, 4, down=True)
        self.refine1 = refine([wide], wide)
        self.refine2 = refine([wide, wide], wide)
        self.refine3 = refine([wide, wide], width)
        self.refine4 = refine([width, width], width, last=True)
        self.normalizer = make_norm(width, key=next(keys))
        self.end_conv = Conv(width, channels, uniform=True, key=next(keys))

    def __call__(
        self,
        level: Level,
        x: Float[Array, "height width channels"],
        told: Float[Array, " features"] | None,
        remat: bool,
    ) -> Float[Array, "height width channels"]:
        h = self.begin_conv(x)
        if told is not None:
            h = h + told.astype(h.dtype)[None, None]
        layers = []
        for stage in (self.res1, self.res2, self.res3, self.res4):
            for part in stage:
                h = block(part, remat)(level, h)
            layers.append(h)
        h = block(self.refine1, remat)(level, layers[3])
        h = block(self.refine2, remat)(level, layers[2], h)
        h = block(self.refine3, remat)(level, layers[1], h)
        h = block(self.refine4, remat)(level, layers[0], h)
        return self.end_conv(jax.nn.elu(self.normalizer(h, level)))

    def parts(self) -> Parts:
        """The parts of the original in its order."""
        yield ("begin_conv",), "begin_conv", conv_names(self.begin_conv)
        yield ("normalizer",), "normalizer", self.normalizer.state_names()
        yield ("end_conv",), "end_conv", conv_names(self.end_conv)
        for name in ("res1", "res2", "res3", "res4"):
            for i, part in enumerate(getattr(self, name)):
                yield (name, i), f"{name}.{i}", part.state_names()
        for name in ("refine1", "refine2", "refine3", "refine4"):
            yield (name,), name, getattr(self, name).state_names()


class AbstractRefineNetwork(AbstractPublished):
    """A RefineNet for images, which is given the index of a level as the time."""

    net: eqx.AbstractVar[RefineNet]
    condition: eqx.AbstractVar[ConditionEmbedding | None]
    shape: eqx.AbstractVar[tuple[int, int, int]]

    @property
    def sigmas(self) -> np.ndarray:
        """The standard deviations of the levels, largest first."""
        options = self.arguments
        if options["sigmas"] is not None:
            return np.asarray(options["sigmas"])
        return np.geomspace(
            options["sigma_begin"], options["sigma_end"], options["num_levels"]
        )

    @property
    def sees(self) -> SeesLevel | SeesNearest:
        """The index of the level, which the network is given as the time."""
        options = self.arguments
        if options["sigmas"] is not None:
            return SeesNearest(tuple(options["sigmas"]))
        return SeesLevel(
            options["sigma_end"], options["sigma_begin"], options["num_levels"]
        )

    @abc.abstractmethod
    def to_score(
        self, level: Level, output: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        """The score at a level, from the output of the RefineNet."""

    def __call__(
        self,
        t: Array | ScalarLike | int,
        x: Float[Array, "height width channels"],
        condition: Condition = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "height width channels"]:
        """**Arguments:**

        - `t`: index of the level, 0 for the largest noise, which [`softsde.Denoiser`][]
            computes; rounded to an integer.
        - `x`: an image.
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: unused; the network has no dropout.

        **Returns:** the score, shaped like `x` and of its dtype; NaN for a level that
            the network does not have.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        del key
        owner = type(self).__name__
        check_image(owner, x, self.shape)
        options = self.arguments
        told = embed(owner, self.condition, condition)
        level = _index(t)
        h = compute_in(options["compute_dtype"], x)
        h = h if options["centered"] else 2 * h - 1
        output = self.net(level, h, told, options["remat"]).astype(x.dtype)
        return self.to_score(level, output)


def make_refine_net(
    arguments: Arguments,
    channels: int,
    make_norm: MakeNorm,
    *,
    norms_everywhere: bool,
    key: PRNGKeyArray,
) -> tuple[RefineNet, ConditionEmbedding | None]:
    """The RefineNet and the embedding of conditions that the arguments ask for."""
    options = dict(arguments)
    width = options["base_channels"]
    keys = split(key)
    net = RefineNet(
        channels,
        width,
        make_norm,
        norms_everywhere=norms_everywhere,
        key=next(keys),
    )
    condition = make_embedding(
        width,
        num_classes=options["num_classes"],
        condition_size=options["condition_size"],
        key=next(keys),
    )
    return net, condition


def _index(t: Array | ScalarLike | int) -> Level:
    t = jnp.asarray(t)
    if jnp.issubdtype(t.dtype, jnp.floating):
        t = jnp.round(t)
    return t.astype(jnp.int32)


def check_levels(
    owner: str,
    sigma_begin: float,
    sigma_end: float,
    num_levels: int,
    sigmas: Sequence[float] | Float[np.ndarray, " levels"] | None,
) -> tuple[float, ...] | None:
    """The levels that were given, as plain numbers; `None` for geometric ones."""
    if sigmas is not None:
        given = np.asarray(sigmas, np.float64)
        falls = given.ndim == 1 and given.size > 1 and np.all(np.diff(given) < 0)
        if not falls or given[-1] <= 0:
            raise ValueError(
                f"`{owner}` got `sigmas={given.tolist()}`; expected at least 2 levels "
                "above 0, largest first, such as [1.0, 0.5, 0.01]."
            )
        return tuple(given.tolist())
    if not sigma_begin > sigma_end > 0 or num_levels < 2:
        raise ValueError(
            f"`{owner}` got `sigma_begin={sigma_begin}`, `sigma_end={sigma_end}` and "
            f"`num_levels={num_levels}`; expected `sigma_begin > sigma_end > 0` and at "
            "least 2 levels, such as 1.0, 0.01 and 10."
        )
    return None


def check_refine_shape(owner: str, shape: Sequence[int]) -> tuple[int, int, int]:
    shape = image_shape(owner, shape)
    height, width, _ = shape
    if height % 2 or width % 2:
        raise ValueError(
            f"`{owner}` halves the image once, so height and width must be even; got "
            f"{height}x{width}. Pad or crop the images to "
            f"{height + height % 2}x{width + width % 2}."
        )
    return shape

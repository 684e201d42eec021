"""SongUNet: NCSN++ and DDPM++ as EDM trains them."""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments, keep
from ._at_size import at_least_float32
from ._condition import condition_vector
from ._group_norm import GroupNorm
from ._image import check_image, image_shape
from ._initial_weights import split
from ._linear import Linear
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
from ._resample import Downsample
from ._score_block import ScoreBlock
from ._score_levels import ScoreStage
from ._score_net import ScoreNet
from ._score_norm import score_norm
from ._score_options import ScoreOptions


class SongUNet(AbstractPublished):
    r"""The networks of EDM: DDPM++ and NCSN++ within EDM's preconditioning.

    ```python
    network = ss.nn.SongUNet(
        (8, 8, 3), width=8, attention_resolutions=(4,), key=jax.random.key(0)
    )
    denoiser = ss.Denoiser(network, ss.edm(), ss.parametrisations.EDM(0.5))
    x0_hat = denoiser(0.5, jnp.zeros((8, 8, 3)))
    ```

    They are those of [`softsde.nn.DDPMpp`][] and [`softsde.nn.NCSNpp`][], with a fused
    projection in their attention, and with labels that enter before the embedding of
    the time. What they are given in the place of the time is EDM's $c_\text{noise} =
    \frac14 \log \sigma_t$, which [`softsde.parametrisations.EDM`][] computes.

    The same weights give the same outputs as the published code:
    [`softsde.nn.load_state_dict`][] reads its state dicts, with the prefix `"model."`.

    ??? cite "Reference"

        Karras, Aittala, Aila and Laine, *Elucidating the Design Space of
        Diffusion-Based Generative Models*, NeurIPS 2022.
    """

    net: ScoreNet
    map_label: Linear | None
    map_augment: Float[Array, "augment_size features"] | None
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 128,
        channel_multipliers: Sequence[int] = (2, 2, 2),
        blocks_per_level: int = 4,
        attention_resolutions: Sequence[int] = (16,),
        kind: str = "ddpmpp",
        dropout: float = 0.13,
        num_classes: int | None = None,
        augment_size: int = 0,
        compute_dtype: str | None = None,
        remat: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image. Height and width are
            multiples of `2**(levels - 1)`.
        - `width`: channels of the network before multiplication.
        - `channel_multipliers`: one for each level, finest first.
        - `blocks_per_level`: residual blocks of each level of the encoder.
        - `attention_resolutions`: the heights of the levels with self-attention.
        - `kind`: `"ddpmpp"` or `"ncsnpp"`, whose features of the time are Fourier's,
            which resamples with a filter, and whose image enters at every level.
        - `dropout`: probability with which a feature is dropped inside a block, where
            the call is given a key.
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `augment_size`: how many numbers describe how a training image was augmented;
            0 for none. Sampling does without them.
        - `compute_dtype`, `remat`: as for [`softsde.nn.NCSNpp`][].
        - `key`: for the initial weights.

        **Raises:** `ValueError` for options that do not exist or do not go together,
        and for a shape that cannot be halved so often.
        """
        if kind not in ("ddpmpp", "ncsnpp"):
            raise ValueError(
                f"`SongUNet` got `kind={kind!r}`; expected 'ddpmpp' or 'ncsnpp'."
            )
        self._arguments = keep(
            shape=shape,
            width=width,
            channel_multipliers=channel_multipliers,
            blocks_per_level=blocks_per_level,
            attention_resolutions=attention_resolutions,
            kind=kind,
            dropout=dropout,
            num_classes=num_classes,
            augment_size=augment_size,
            compute_dtype=compute_dtype,
            remat=remat,
        )
        filtered = kind == "ncsnpp"
        options = ScoreOptions(
            width=width,
            channel_multipliers=tuple(channel_multipliers),
            blocks_per_level=blocks_per_level,
            attention_resolutions=tuple(attention_resolutions),
            block="biggan",
            fir=(1.0, 3.0, 3.0, 1.0) if filtered else None,
            resample_with_conv=True,
            progressive="none",
            progressive_input="residual" if filtered else "none",
            progressive_combine="sum",
            embedding="fourier" if filtered else "positional",
            fourier_scale=16.0,
            conditional=True,
            scale_by_sigma=False,
            sigma_min=0.01,
            sigma_max=50.0,
            num_scales=1000,
            centered=True,
            skip_rescale=True,
            init_scale=0.0,
            activation="swish",
            dropout=dropout,
            num_classes=None,
            condition_size=None,
            compute_dtype=compute_dtype,
            remat=remat,
            scan=False,
        )
        keys = split(key)
        net = ScoreNet(
            "SongUNet", image_shape("SongUNet", shape), options, key=next(keys)
        )
        self.net = _with_fused_attention(net, keys)
        features = self.net.dense[0].weight.shape[0]
        self.map_label = (
            Linear(num_classes, features, fan_average=1.0, key=next(keys))
            if num_classes is not None
            else None
        )
        self.map_augment = (
            Linear(augment_size, features, fan_average=1.0, key=next(keys)).weight
            if augment_size
            else None
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

        - `t`: `c_noise`, which [`softsde.parametrisations.EDM`][] computes.
        - `x`: an image times `c_in`.
        - `condition`: an integer label; or, for training with augmentation, a
            dictionary with `"augment"`, a vector, and `"label"`. `None` for none.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        net = self.net
        check_image("SongUNet", x, net.shape)
        seen = jnp.asarray(t, at_least_float32(x.dtype))
        compute = net.options.dtype(x.dtype)
        embedding = self._embedding(seen, condition).astype(compute)
        keys = repeat(None) if key is None else split(key)
        return net._body(embedding, x.astype(compute), keys).astype(x.dtype)

    def _embedding(self, seen: Array, condition: Condition) -> Array:
        """The vector that the blocks read, before its activation."""
        net, act = self.net, jax.nn.silu
        features = (
            positional_embedding(seen, net.options.width)
            if net.fourier is None
            else net.fourier(seen)
        )
        given = condition if isinstance(condition, dict) else {"label": condition}
        features = features + self._told(given, features)
        first, second = net.dense
        return second(act(first(features)))

    def _told(self, given: dict[str, Any], features: Array) -> Array:
        """Features of label and augmentation, added to those of the time."""
        label, augment = given.get("label"), given.get("augment")
        if set(given) - {"label", "augment"}:
            raise ValueError(
                f"`SongUNet` got a condition with {sorted(given)}; expected `label` "
                "and `augment`."
            )
        told = jnp.zeros_like(features)
        if self.map_label is None and label is not None:
            raise ValueError(
                "this `SongUNet` was made without labels, and got one. Make it with "
                "`num_classes`."
            )
        if self.map_augment is None and augment is not None:
            raise ValueError(
                "this `SongUNet` was made without augmentation, and got a vector of "
                "it. Make it with `augment_size`."
            )
        if self.map_label is not None:
            number = self.map_label.weight.shape[0]
            index = -1 if label is None else label
            one_hot = condition_vector(index, number, True, features.dtype)
            # A vector of unit variance, but for no class, which is zeros.
            told = told + self.map_label(math.sqrt(number) * one_hot)
        if self.map_augment is not None and augment is not None:
            told = told + augment.astype(features.dtype) @ self.map_augment.astype(
                features.dtype
            )
        return told

    def state_names(self) -> StateNames:
        """The names of the original's state dict, with their places."""
        names: dict[str, Place | Constant] = {}
        net = self.net
        if net.fourier is not None:
            names |= places(("map_noise.freqs", "net.fourier.frequencies", VECTOR))
        if self.map_label is not None:
            names |= weight_and_bias("map_label.", "map_label.", TRANSPOSED)
        if self.map_augment is not None:
            names |= places(("map_augment.weight", "map_augment", TRANSPOSED))
        for i in range(2):
            inner = weight_and_bias("", "", TRANSPOSED)
            names |= dict(below(f"map_layer{i}.", ("net", "dense", i), inner))
        for name, path, inner in self._parts():
            for inner_name, place in inner.items():
                if isinstance(place, Place):
                    place = place._replace(path=("net", *path, *place.path))
                names[f"{name}.{inner_name}"] = place
        return names

    def _parts(self) -> Iterator[tuple[str, Path, StateNames]]:
        """Every module of the original: its name, its path, and its names."""
        net = self.net
        filter_ = _filter(net.options.fir)
        sizes = [net.shape[0] // 2**i for i in range(len(net.encoder))]
        yield (
            f"enc.{sizes[0]}x{sizes[0]}_conv",
            ("stem",),
            weight_and_bias("", "", KERNEL),
        )
        for i, level in enumerate(net.encoder):
            size = f"enc.{sizes[i]}x{sizes[i]}"
            yield from _stages(f"{size}_block", ("encoder", i, "stages"), level.stages)
            if isinstance(level.down, ScoreBlock):
                below_it = f"enc.{sizes[i + 1]}x{sizes[i + 1]}"
                path: Path = ("encoder", i, "down")
                yield f"{below_it}_down", path, _block(level.down, filter_)
                if isinstance(level.pyramid, Downsample):
                    inner = weight_and_bias("", "conv.", KERNEL)
                    path = ("encoder", i, "pyramid")
                    yield f"{below_it}_aux_residual", path, inner | filter_
        coarsest = f"dec.{sizes[-1]}x{sizes[-1]}"
        yield from _stages(f"{coarsest}_in", ("middle",), net.middle)
        for i, level in enumerate(net.decoder):
            size = f"dec.{sizes[-1 - i]}x{sizes[-1 - i]}"
            for j, block in enumerate(level.blocks):
                yield f"{size}_block{j}", ("decoder", i, "blocks", j), _block(block)
            if level.attention is not None:
                last = f"{size}_block{len(level.blocks) - 1}"
                yield last, ("decoder", i, "attention"), _attention()
            if isinstance(level.up, ScoreBlock):
                above = f"dec.{sizes[-2 - i]}x{sizes[-2 - i]}"
                yield f"{above}_up", ("decoder", i, "up"), _block(level.up, filter_)
        finest = f"dec.{sizes[0]}x{sizes[0]}"
        head = ("head",)
        yield f"{finest}_aux_norm", (*head, "norm"), weight_and_bias("", "", VECTOR)
        yield f"{finest}_aux_conv", (*head, "conv"), weight_and_bias("", "", KERNEL)

    @classmethod
    def cifar10_ddpmpp(cls, *, key: PRNGKeyArray, **changes: Any) -> "SongUNet":
        """The published DDPM++ for CIFAR-10, of 55.7 million parameters.

        **Arguments:**

        - `key`: for the initial weights.
        - `changes`: options to change, by name, such as `num_classes=10`.

        **Returns:** the network.
        """
        options = {"shape": (32, 32, 3), "augment_size": 9}
        return cls(**options | changes, key=key)

    @classmethod
    def cifar10_ncsnpp(cls, *, key: PRNGKeyArray, **changes: Any) -> "SongUNet":
        """The published NCSN++ for CIFAR-10, of 56.4 million parameters.

        **Arguments:** as [`softsde.nn.SongUNet.cifar10_ddpmpp`][].

        **Returns:** the network.
        """
        options = {"shape": (32, 32, 3), "augment_size": 9, "kind": "ncsnpp"}
        return cls(**options | changes, key=key)


class FusedPixelAttention(eqx.Module):
    r"""Residual self-attention over pixels, with one projection for all three parts.

    $(x + \operatorname{softmax}(Q K^\top / \sqrt c)\, V W) / \sqrt 2$, where the $3 c$
    channels of the projection are query, key and value of each channel in turn.
    """

    norm: GroupNorm
    qkv: Linear
    out: Linear

    def __init__(self, channels: int, *, key: PRNGKeyArray):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.norm = score_norm(channels)
        self.qkv = Linear(channels, 3 * channels, fan_average=0.2, key=next(keys))
        self.out = Linear(channels, channels, fan_average=0.0, key=next(keys))

    def __call__(
        self, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        height, width, channels = x.shape
        qkv = self.qkv(self.norm(x)).reshape(height * width, channels, 3)
        query, key, value = qkv[..., 0], qkv[..., 1], qkv[..., 2]
        logits = (query @ key.T).astype(at_least_float32(x.dtype))
        weights = jax.nn.softmax(logits * channels**-0.5, axis=-1).astype(x.dtype)
        return (x + self.out(weights @ value).reshape(x.shape)) / 2**0.5


def _with_fused_attention(net: ScoreNet, keys: Iterator[PRNGKeyArray]) -> ScoreNet:
    is_attention = lambda part: isinstance(part, PixelAttention)

    def fuse(part: Any) -> Any:
        if not is_attention(part):
            return part
        return FusedPixelAttention(part.out.bias.shape[0], key=next(keys))

    return jax.tree.map(fuse, net, is_leaf=is_attention)


def _filter(fir: tuple[float, ...] | None) -> dict[str, Constant]:
    """The filter that the original keeps in each block that resamples."""
    taps = np.asarray((1.0, 1.0) if fir is None else fir, np.float32)
    kernel = np.outer(taps, taps)[None, None] / taps.sum() ** 2
    return {"resample_filter": Constant(kernel)}


def _block(block: ScoreBlock, filter_: StateNames | None = None) -> StateNames:
    """The names of a block; one that resamples has a filter in two places."""
    names: dict[str, Place | Constant] = {}
    for theirs, ours, layout in (
        ("norm0", "norm1", VECTOR),
        ("conv0", "conv1", KERNEL),
        ("affine", "dense", TRANSPOSED),
        ("norm1", "norm2", VECTOR),
        ("conv1", "conv2", KERNEL),
    ):
        names |= weight_and_bias(f"{theirs}.", f"{ours}.", layout)
    if block.shortcut is not None:
        names |= weight_and_bias("skip.", "shortcut.", POINTWISE)
    if filter_ is not None:
        names["conv0.resample_filter"] = filter_["resample_filter"]
        names["skip.resample_filter"] = filter_["resample_filter"]
    return names


def _attention() -> StateNames:
    return (
        weight_and_bias("norm2.", "norm.", VECTOR)
        | weight_and_bias("qkv.", "qkv.", POINTWISE)
        | weight_and_bias("proj.", "out.", POINTWISE)
    )


def _stages(
    name: str, path: Path, stages: Sequence[ScoreStage]
) -> Iterator[tuple[str, Path, StateNames]]:
    for i, stage in enumerate(stages):
        yield f"{name}{i}", (*path, i, "block"), _block(stage.block)
        if stage.attention is not None:
            yield f"{name}{i}", (*path, i, "attention"), _attention()

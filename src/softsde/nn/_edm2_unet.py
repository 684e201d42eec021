"""EDM2UNet: the network of EDM2, whose weights and features keep their magnitude."""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from .._types import Condition, ScalarLike
from ._arguments import Arguments, keep
from ._at_size import at_least_float32, block, check_dtype, compute_in
from ._condition import condition_length, condition_vector, refuse_condition
from ._edm2_block import EDM2Block, Kind, Resample
from ._image import check_image, image_shape
from ._initial_weights import split
from ._magnitude import MPConv, MPFourier, mp_concatenate, mp_silu, mp_sum
from ._published import (
    KERNEL,
    SCALAR,
    TRANSPOSED,
    VECTOR,
    AbstractPublished,
    Constant,
    Place,
    StateNames,
    below,
    places,
)
from ._score_options import check_levels


class EDM2UNet(AbstractPublished):
    r"""The network of EDM2, within EDM's preconditioning.

    ```python
    network = ss.nn.EDM2UNet(
        (8, 8, 3), width=8, channel_multipliers=(1, 2), blocks_per_level=1,
        attention_resolutions=(4,), head_size=8, key=jax.random.key(0),
    )
    denoiser = ss.Denoiser(network, ss.edm(), ss.parametrisations.EDM(0.5))
    x0_hat = denoiser(0.5, jnp.zeros((8, 8, 3)))
    ```

    It has no biases and no group norms. Each layer is scaled so that inputs of
    magnitude one give outputs of magnitude one ([`softsde.nn.MPConv`][]). What it is
    given in the place of the time is $c_\text{noise} = \frac14 \log \sigma_t$, as
    [`softsde.parametrisations.EDM`][] computes it.

    The same weights give the same outputs as the published code:
    [`softsde.nn.load_state_dict`][] reads its state dicts. The published training sets
    the length of the weights of each output back to that of magnitude one after every
    step: [`softsde.nn.keep_unit_weights`][] does.

    ??? cite "Reference"

        Karras, Aittala, Lehtinen, Hellsten, Aila and Laine, *Analyzing and Improving
        the Training Dynamics of Diffusion Models*, CVPR 2024.
    """

    gain: Float[Array, ""]
    fourier: MPFourier
    noise: MPConv
    label: MPConv | None
    stem: MPConv
    encoder: tuple[EDM2Block, ...]
    decoder: tuple[EDM2Block, ...]
    head: MPConv
    uncertainty_fourier: MPFourier
    uncertainty_linear: MPConv
    shape: tuple[int, int, int] = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        width: int = 192,
        channel_multipliers: Sequence[int] = (1, 2, 3, 4),
        blocks_per_level: int = 3,
        attention_resolutions: Sequence[int] = (16, 8),
        head_size: int = 64,
        dropout: float = 0.0,
        num_classes: int | None = None,
        condition_size: int | None = None,
        label_balance: float = 0.5,
        concatenate_balance: float = 0.5,
        uncertainty_features: int = 128,
        compute_dtype: str | None = None,
        remat: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image. Height and width are
            multiples of `2**(levels - 1)`.
        - `width`: channels of the network before multiplication.
        - `channel_multipliers`: one for each level, finest first.
        - `blocks_per_level`: blocks of each level of the encoder; the decoder has one
            more.
        - `attention_resolutions`: the heights of the levels with self-attention. The
            coarsest has it in its middle in any case.
        - `head_size`: channels of a head of the attention.
        - `dropout`: see [`softsde.nn.EDM2Block`][].
        - `num_classes`: the condition is an integer label from 0 to `num_classes - 1`;
            -1 stands for no label. `None` is a network without labels.
        - `condition_size`: the condition is a vector of so many floating-point numbers;
            zeros stand for no condition. Not together with `num_classes`.
        - `label_balance`: weight of the condition beside the noise, 0 to 1.
        - `concatenate_balance`: weight of the encoder's features beside the decoder's,
            0 to 1.
        - `uncertainty_features`: of the noise, for
            [`softsde.nn.EDM2UNet.log_variance`][].
        - `compute_dtype`, `remat`: as for [`softsde.nn.NCSNpp`][].
        - `key`: for the initial weights.

        **Raises:** `ValueError` for options that do not go together, and for a shape
        that cannot be halved so often.
        """
        self._arguments = keep(
            shape=shape,
            width=width,
            channel_multipliers=channel_multipliers,
            blocks_per_level=blocks_per_level,
            attention_resolutions=attention_resolutions,
            head_size=head_size,
            dropout=dropout,
            num_classes=num_classes,
            condition_size=condition_size,
            label_balance=label_balance,
            concatenate_balance=concatenate_balance,
            uncertainty_features=uncertainty_features,
            compute_dtype=compute_dtype,
            remat=remat,
        )
        self.shape = image_shape("EDM2UNet", shape)
        check_dtype("EDM2UNet", compute_dtype)
        _check(self.arguments)
        keys = split(key)
        channels = [width * multiplier for multiplier in channel_multipliers]
        size = max(channels)
        self.gain = jnp.asarray(np.float32(0.0))
        self.fourier = MPFourier(channels[0], key=next(keys))
        self.noise = MPConv(channels[0], size, key=next(keys))
        self.label = None
        if num_classes is not None or condition_size is not None:
            given = condition_length(num_classes, condition_size)
            self.label = MPConv(given, size, key=next(keys))
        # One channel of ones takes the place of a bias.
        self.stem = MPConv(self.shape[-1] + 1, channels[0], 3, key=next(keys))
        made = [
            (
                part,
                EDM2Block(
                    part.in_channels,
                    part.out_channels,
                    size,
                    kind=part.kind,
                    resample=part.resample,
                    num_heads=part.out_channels // head_size if part.attends else 0,
                    dropout=dropout,
                    key=next(keys),
                ),
            )
            for part in _parts(self.arguments)
        ]
        self.encoder = tuple(block for part, block in made if part.kind == "encoder")
        self.decoder = tuple(block for part, block in made if part.kind == "decoder")
        self.head = MPConv(channels[0], self.shape[-1], 3, key=next(keys))
        self.uncertainty_fourier = MPFourier(uncertainty_features, key=next(keys))
        self.uncertainty_linear = MPConv(uncertainty_features, 1, key=next(keys))

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
        - `condition`: an integer label or a vector, as the network was made for;
            `None` for no condition.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** an array shaped like `x`, of its dtype.

        **Raises:** `ValueError` for an image or a condition that the network was not
        made for; an error at run time for a label that is out of range.
        """
        check_image("EDM2UNet", x, self.shape)
        arguments = self.arguments
        seen = jnp.asarray(t, at_least_float32(x.dtype))
        h = compute_in(arguments["compute_dtype"], x)
        embedding = self._embedding(seen, condition).astype(h.dtype)
        keys = repeat(None) if key is None else split(key)
        run = lambda part, h: block(part, arguments["remat"])(
            embedding, h, key=next(keys)
        )
        h = self.stem(jnp.concatenate([h, jnp.ones_like(h[..., :1])], axis=-1))
        skips = [h]
        for part in self.encoder:
            h = run(part, h)
            skips.append(h)
        plan = [part for part in _parts(arguments) if part.kind == "decoder"]
        for planned, part in zip(plan, self.decoder, strict=True):
            if planned.reads_skip:
                h = mp_concatenate(h, skips.pop(), arguments["concatenate_balance"])
            h = run(part, h)
        return self.head(h, self.gain).astype(x.dtype)

    def log_variance(self, t: ScalarLike) -> Float[Array, ""]:
        """The uncertainty $u$ of the output, which EDM2's loss trains with it (Eq. 21).

        **Arguments:**

        - `t`: `c_noise`, as in the call.

        **Returns:** the logarithm of the expected weighted squared error at that noise.
        """
        dtype = self.uncertainty_linear.weight.dtype
        features = self.uncertainty_fourier(jnp.asarray(t, dtype))
        return self.uncertainty_linear(features)[0]

    def _embedding(self, seen: Array, condition: Condition) -> Array:
        """The vector that the blocks read."""
        arguments = self.arguments
        features = self.noise(self.fourier(seen))
        if self.label is None:
            if condition is not None:
                refuse_condition("EDM2UNet")
            return mp_silu(features)
        number = self.label.weight.shape[0]
        is_label = arguments["num_classes"] is not None
        if condition is None:
            condition = -1 if is_label else jnp.zeros(number, features.dtype)
        told = condition_vector(condition, number, is_label, features.dtype)
        # A label has magnitude one, too.
        told = told.astype(features.dtype) * (math.sqrt(number) if is_label else 1.0)
        told = self.label(told)
        return mp_silu(mp_sum(features, told, arguments["label_balance"]))

    def state_names(self) -> StateNames:
        """The names of the original's state dict, with their places."""
        names: dict[str, Place | Constant] = {}
        names |= places(
            ("unet.out_gain", "gain", SCALAR),
            ("unet.emb_fourier.freqs", "fourier.frequencies", VECTOR),
            ("unet.emb_fourier.phases", "fourier.phases", VECTOR),
            ("unet.emb_noise.weight", "noise.weight", TRANSPOSED),
        )
        if self.label is not None:
            names |= places(("unet.emb_label.weight", "label.weight", TRANSPOSED))
        height = self.shape[0]
        stem = f"unet.enc.{height}x{height}_conv.weight"
        names |= places((stem, "stem.weight", KERNEL))
        number = {"encoder": 0, "decoder": 0}
        for part in _parts(self.arguments):
            path = (part.kind, number[part.kind])
            number[part.kind] += 1
            inner = getattr(self, part.kind)[path[1]].state_names()
            names |= dict(below(f"unet.{part.name}.", path, inner))
        return names | places(
            ("unet.out_conv.weight", "head.weight", KERNEL),
            ("logvar_fourier.freqs", "uncertainty_fourier.frequencies", VECTOR),
            ("logvar_fourier.phases", "uncertainty_fourier.phases", VECTOR),
            ("logvar_linear.weight", "uncertainty_linear.weight", TRANSPOSED),
        )

    @classmethod
    def imagenet64(
        cls,
        size: str = "s",
        *,
        key: PRNGKeyArray,
        **changes: Any,
    ) -> "EDM2UNet":
        """The published network for ImageNet at 64x64, with its thousand classes.

        **Arguments:**

        - `size`: `"xs"`, `"s"`, `"m"`, `"l"` or `"xl"`, of 124.7, 280.2, 497.8, 777.5
            and 1119.3 million parameters.
        - `key`: for the initial weights.
        - `changes`: options to change, by name.

        **Returns:** the network.

        **Raises:** `ValueError` for a size that was not published.
        """
        if size not in _IMAGENET64:
            raise ValueError(
                f"`EDM2UNet.imagenet64` got `size={size!r}`; expected one of "
                f"{', '.join(_IMAGENET64)}."
            )
        options = {"shape": (64, 64, 3), "num_classes": 1000, **_IMAGENET64[size]}
        return cls(**options | changes, key=key)


_IMAGENET64 = {
    "xs": {"width": 128},
    "s": {"width": 192},
    "m": {"width": 256, "dropout": 0.1},
    "l": {"width": 320, "dropout": 0.1},
    "xl": {"width": 384, "dropout": 0.1},
}


class _Part(NamedTuple):
    """A block: its name in the original, and what it is made with."""

    name: str
    kind: Kind
    in_channels: int
    out_channels: int
    resample: Resample
    attends: bool
    reads_skip: bool


def _parts(arguments: dict[str, Any]) -> Iterator[_Part]:
    """Every block, in the order in which they run."""
    channels = [arguments["width"] * m for m in arguments["channel_multipliers"]]
    sizes = [arguments["shape"][0] // 2**level for level in range(len(channels))]
    blocks = arguments["blocks_per_level"]
    attend = [size in arguments["attention_resolutions"] for size in sizes]
    skips = [channels[0]]
    last = channels[0]
    for level, width in enumerate(channels):
        prefix = f"enc.{sizes[level]}x{sizes[level]}"
        if level:
            yield _Part(f"{prefix}_down", "encoder", last, last, "down", False, False)
            skips.append(last)
        for i in range(blocks):
            name = f"{prefix}_block{i}"
            yield _Part(name, "encoder", last, width, None, attend[level], False)
            last = width
            skips.append(last)
    for level, width in reversed(list(enumerate(channels))):
        prefix = f"dec.{sizes[level]}x{sizes[level]}"
        if level == len(channels) - 1:
            yield _Part(f"{prefix}_in0", "decoder", last, last, None, True, False)
            yield _Part(f"{prefix}_in1", "decoder", last, last, None, False, False)
        else:
            yield _Part(f"{prefix}_up", "decoder", last, last, "up", False, False)
        for i in range(blocks + 1):
            name = f"{prefix}_block{i}"
            both = last + skips.pop()
            yield _Part(name, "decoder", both, width, None, attend[level], True)
            last = width


def _check(arguments: dict[str, Any]) -> None:
    """Refuses options that do not go together."""
    check_levels(
        "EDM2UNet",
        image_shape("EDM2UNet", arguments["shape"]),
        tuple(arguments["channel_multipliers"]),
        tuple(arguments["attention_resolutions"]),
    )
    head_size = arguments["head_size"]
    attend = {part.out_channels for part in _parts(arguments) if part.attends}
    uneven = sorted(width for width in attend if width % head_size)
    if head_size < 1 or uneven:
        raise ValueError(
            f"`EDM2UNet` got `head_size={head_size}`, and attention at {uneven} "
            "channels; expected a divisor of them."
        )
    for name in ("label_balance", "concatenate_balance"):
        if not 0 <= arguments[name] <= 1:
            raise ValueError(
                f"`EDM2UNet` got `{name}={arguments[name]}`; expected 0 to 1."
            )

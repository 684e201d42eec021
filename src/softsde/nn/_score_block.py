"""The residual blocks of DDPM and of BigGAN, as NCSN++ and DDPM++ have them."""

from collections.abc import Callable, Mapping, Sequence

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from ._conv import Conv
from ._group_norm import GroupNorm
from ._initial_weights import split
from ._linear import Linear
from ._published import KERNEL, MATRIX, POINTWISE, TRANSPOSED, VECTOR, Place, places
from ._resample import (
    check_fir,
    fir_downsample,
    fir_upsample,
    mean_downsample,
    repeat_upsample,
)
from ._score_norm import score_norm

#: The functions that the published configurations choose from.
ACTIVATIONS: Mapping[str, Callable[[Array], Array]] = {
    "swish": jax.nn.silu,
    "elu": jax.nn.elu,
    "relu": jax.nn.relu,
    "lrelu": lambda x: jax.nn.leaky_relu(x, 0.2),
}


class ScoreBlock(eqx.Module):
    r"""Two convolutions around which the signal can pass unchanged.

    $$h = \operatorname{conv}(R(a(\operatorname{norm}(x)))) + A\, a(e), \qquad
    y = \frac{S(R(x)) + \operatorname{conv}(\operatorname{dropout}(a(
    \operatorname{norm}(h))))}{\sqrt 2}.$$

    $a$ is the activation, $e$ the embedding of the time, $R$ resamples (in blocks of
    the kind `"biggan"`) and $S$ is a linear map where the shape changes. The second
    convolution starts at nearly zero. Without `rescale` there is no $\sqrt 2$.

    ??? cite "References"

        Ho, Jain and Abbeel, *Denoising Diffusion Probabilistic Models*, NeurIPS 2020.
        Brock, Donahue and Simonyan, *Large Scale GAN Training for High Fidelity Natural
        Image Synthesis*, ICLR 2019. Song et al., *Score-Based Generative Modeling
        through Stochastic Differential Equations*, ICLR 2021 (Appendix H).
    """

    norm1: GroupNorm
    conv1: Conv
    dense: Linear
    norm2: GroupNorm
    conv2: Conv
    shortcut: Linear | None
    dropout: eqx.nn.Dropout
    kind: str = eqx.field(static=True)
    resample: str | None = eqx.field(static=True)
    fir: tuple[float | int, ...] | None = eqx.field(static=True)
    rescale: bool = eqx.field(static=True)
    activation: str = eqx.field(static=True)

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        embedding_size: int,
        *,
        kind: str = "biggan",
        resample: str | None = None,
        fir: Sequence[float | int] | None = None,
        rescale: bool = True,
        init_scale: float = 0.0,
        activation: str = "swish",
        dropout: float = 0.0,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: lengths of the last axis before and after.
        - `embedding_size`: length of the embedding.
        - `kind`: `"biggan"` or `"ddpm"`. A block of DDPM has a linear map around it
            only where the number of channels changes, and does not resample.
        - `resample`: `"up"` doubles height and width, `"down"` halves them, and `None`
            keeps them.
        - `fir`: the filter to resample with; `None` repeats and averages pixels.
        - `rescale`: whether the sum is divided by the square root of 2.
        - `init_scale`: variance of the initial second convolution, 0 for nearly zero.
        - `activation`: `"swish"`, `"elu"`, `"relu"` or `"lrelu"`.
        - `dropout`: probability with which a feature is dropped, where the call is
            given a key.
        - `key`: for the initial weights.

        **Raises:** `ValueError` for an unknown option, a block of DDPM that resamples,
        or a number of channels that the group norms cannot divide.
        """
        _check("kind", kind, ("biggan", "ddpm"))
        _check("resample", resample, ("up", "down", None))
        _check("activation", activation, tuple(ACTIVATIONS))
        if kind == "ddpm" and resample is not None:
            raise ValueError(
                f"`ScoreBlock` got `kind='ddpm'` and `resample={resample!r}`; blocks "
                "of DDPM do not resample. Use `kind='biggan'`, or `Upsample` and "
                "`Downsample` between blocks."
            )
        check_fir("ScoreBlock", fir)
        keys = split(key)
        self.norm1 = score_norm(in_channels)
        self.conv1 = Conv(in_channels, out_channels, fan_average=1.0, key=next(keys))
        self.dense = Linear(
            embedding_size, out_channels, fan_average=1.0, key=next(keys)
        )
        self.norm2 = score_norm(out_channels)
        self.conv2 = Conv(
            out_channels, out_channels, fan_average=init_scale, key=next(keys)
        )
        self.shortcut = None
        if in_channels != out_channels or resample is not None:
            scale = 0.1 if kind == "ddpm" else 1.0
            self.shortcut = Linear(
                in_channels, out_channels, fan_average=scale, key=next(keys)
            )
        self.dropout = eqx.nn.Dropout(dropout)
        self.kind = kind
        self.resample = resample
        self.fir = None if fir is None else tuple(fir)
        self.rescale = rescale
        self.activation = activation

    @property
    def out_channels(self) -> int:
        """The number of channels that it gives."""
        return self.conv2.weight.shape[-1]

    def __call__(
        self,
        embedding: Float[Array, " embedding_size"] | None,
        x: Float[Array, "height width in_channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, "out_height out_width out_channels"]:
        """**Arguments:**

        - `embedding`: of the time; `None` in a network that is not told it.
        - `x`: a feature map.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** a feature map.
        """
        act = ACTIVATIONS[self.activation]
        h = self.conv1(self._resampled(act(self.norm1(x))))
        if embedding is not None:
            h = h + self.dense(act(embedding))[None, None]
        h = act(self.norm2(h))
        h = self.conv2(self.dropout(h, key=key, inference=key is None))
        skip = self._resampled(x)
        skip = skip if self.shortcut is None else self.shortcut(skip)
        return (skip + h) / 2**0.5 if self.rescale else skip + h

    def _resampled(self, x: Array) -> Array:
        if self.resample == "up":
            return repeat_upsample(x) if self.fir is None else fir_upsample(x, self.fir)
        if self.resample == "down":
            return (
                mean_downsample(x) if self.fir is None else fir_downsample(x, self.fir)
            )
        return x

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        names = places(
            ("GroupNorm_0.weight", "norm1.weight", VECTOR),
            ("GroupNorm_0.bias", "norm1.bias", VECTOR),
            ("Conv_0.weight", "conv1.weight", KERNEL),
            ("Conv_0.bias", "conv1.bias", VECTOR),
            ("Dense_0.weight", "dense.weight", TRANSPOSED),
            ("Dense_0.bias", "dense.bias", VECTOR),
            ("GroupNorm_1.weight", "norm2.weight", VECTOR),
            ("GroupNorm_1.bias", "norm2.bias", VECTOR),
            ("Conv_1.weight", "conv2.weight", KERNEL),
            ("Conv_1.bias", "conv2.bias", VECTOR),
        )
        if self.shortcut is None:
            return names
        if self.kind == "ddpm":
            return names | places(
                ("NIN_0.W", "shortcut.weight", MATRIX),
                ("NIN_0.b", "shortcut.bias", VECTOR),
            )
        return names | places(
            ("Conv_2.weight", "shortcut.weight", POINTWISE),
            ("Conv_2.bias", "shortcut.bias", VECTOR),
        )


def _check(name: str, value: str | None, choices: tuple) -> None:
    if value not in choices:
        raise ValueError(
            f"`ScoreBlock` got `{name}={value!r}`; expected one of "
            f"{', '.join(map(repr, choices))}."
        )

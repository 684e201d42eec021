"""The blocks of a RefineNet, as NCSN has them.

Every block takes the level of noise and passes it to its norms. NCSN has norms that
read it in all of its blocks; NCSNv2 has plain ones, in the residual blocks only.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ._at_size import at_least_float32
from ._conv import Conv
from ._initial_weights import split
from ._instance_norm import ConditionalInstanceNormPlus, InstanceNormPlus
from ._published import KERNEL, Path, Place, below, places, weight_and_bias

Level: TypeAlias = Int[Array, ""]
Norm: TypeAlias = InstanceNormPlus | ConditionalInstanceNormPlus
#: Makes a norm for a number of channels.
MakeNorm: TypeAlias = Callable[..., Norm]

#: The parts of a network: path, name in the original, and the names inside.
Parts: TypeAlias = Iterator[tuple[Path, str, Mapping[str, Place]]]


def gather(parts: Parts) -> dict[str, Place]:
    """The names of a whole, from those of its parts."""
    return dict(
        entry for path, name, inner in parts for entry in below(f"{name}.", path, inner)
    )


def conv_names(conv: Conv) -> dict[str, Place]:
    """The names of a convolution in PyTorch."""
    if conv.bias is None:
        return places(("weight", "weight", KERNEL))
    return weight_and_bias("", "", KERNEL)


def resize_bilinear(
    x: Float[Array, "height width channels"], height: int, width: int
) -> Float[Array, "rows columns channels"]:
    r"""Bilinear interpolation in which the corners of both images coincide.

    Row $i$ of $n'$ reads the source at $i (n - 1) / (n' - 1)$, between the two rows
    nearest to it; columns alike.

    **Arguments:**

    - `x`: an image.
    - `height`, `width`: the new size in pixels.

    **Returns:** an image of that size, of the dtype of `x`.
    """
    if x.shape[:2] == (height, width):
        return x
    rows = jnp.asarray(_interpolation(x.shape[0], height), x.dtype)
    columns = jnp.asarray(_interpolation(x.shape[1], width), x.dtype)
    return jnp.einsum("ih,jw,hwc->ijc", rows, columns, x)


def _interpolation(old: int, new: int) -> np.ndarray:
    """The matrix of linear interpolation from `old` points to `new` ones."""
    places = np.linspace(0, old - 1, new)
    return np.maximum(0, 1 - abs(places[:, None] - np.arange(old)[None]))


class MeanPoolConv(eqx.Module):
    """A convolution, then the mean over squares of 2x2 pixels."""

    conv: Conv

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, key: PRNGKeyArray
    ):
        """**Arguments:** those of [`softsde.nn.Conv`][]."""
        self.conv = Conv(
            in_channels, out_channels, kernel_size=kernel_size, uniform=True, key=key
        )

    def __call__(
        self, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "rows columns out_channels"]:
        height, width, _ = x.shape
        y = self.conv(x).reshape(height // 2, 2, width // 2, 2, -1)
        return jnp.mean(y, axis=(1, 3), dtype=at_least_float32(y.dtype)).astype(x.dtype)

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(iter([(("conv",), "conv", conv_names(self.conv))]))


class NCSNBlock(eqx.Module):
    """The residual block of NCSN.

    `h = conv1(elu(normalize1(x)))`, `h = conv2(elu(normalize2(h)))`,
    `y = shortcut(x) + h`. A block that goes down halves the resolution in `conv2` and
    in the shortcut, or, if it is dilated, spreads its kernels instead.
    """

    normalize1: Norm
    conv1: Conv
    normalize2: Norm
    conv2: Conv | MeanPoolConv
    shortcut: Conv | MeanPoolConv | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        make_norm: MakeNorm,
        *,
        down: bool = False,
        dilation: int | None = None,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`, `out_channels`: length of the last axis before and after.
        - `make_norm`: `make_norm(channels, key=key)` makes a norm.
        - `down`: whether the block begins a level.
        - `dilation`: that of the kernels; `None` for a block without dilation.
        - `key`: for the initial weights.
        """
        keys = split(key)
        # A block that goes down widens in its second convolution, others in the first.
        middle = in_channels if down else out_channels
        spread = 1 if dilation is None else dilation

        def conv(fan: int, out: int) -> Conv:
            return Conv(fan, out, dilation=spread, uniform=True, key=next(keys))

        self.normalize1 = make_norm(in_channels, key=next(keys))
        self.conv1 = conv(in_channels, middle)
        self.normalize2 = make_norm(middle, key=next(keys))
        if not down and in_channels == out_channels:
            self.conv2, self.shortcut = conv(middle, out_channels), None
        elif down and dilation is None:
            self.conv2 = MeanPoolConv(middle, out_channels, 3, next(keys))
            self.shortcut = MeanPoolConv(in_channels, out_channels, 1, next(keys))
        else:
            self.conv2 = conv(middle, out_channels)
            self.shortcut = conv(in_channels, out_channels)

    def __call__(
        self, level: Level, x: Float[Array, "height width in_channels"]
    ) -> Float[Array, "rows columns out_channels"]:
        h = self.conv1(jax.nn.elu(self.normalize1(x, level)))
        h = self.conv2(jax.nn.elu(self.normalize2(h, level)))
        return (x if self.shortcut is None else self.shortcut(x)) + h

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(self._parts())

    def _parts(self) -> Parts:
        yield ("conv1",), "conv1", conv_names(self.conv1)
        yield ("normalize2",), "normalize2", self.normalize2.state_names()
        for name in ("conv2", "shortcut"):
            conv = getattr(self, name)
            if isinstance(conv, MeanPoolConv):
                yield (name,), name, conv.state_names()
            elif conv is not None:
                yield (name,), name, conv_names(conv)
        yield ("normalize1",), "normalize1", self.normalize1.state_names()


class RCU(eqx.Module):
    """Residual convolution units: `x + conv(elu(conv(elu(x))))`, repeated.

    With norms, each stage is `conv(elu(norm(x)))`. The convolutions have no bias.
    """

    convs: list[list[Conv]]
    norms: list[list[Norm]] | None

    def __init__(
        self,
        channels: int,
        num_units: int,
        make_norm: MakeNorm | None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `num_units`: residual units, each of two convolutions.
        - `make_norm`: as for `NCSNBlock`, or `None` for no norms.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.convs = [
            [
                Conv(channels, channels, use_bias=False, uniform=True, key=next(keys))
                for _ in range(2)
            ]
            for _ in range(num_units)
        ]
        self.norms = make_norm and [
            [make_norm(channels, key=next(keys)) for _ in range(2)]
            for _ in range(num_units)
        ]

    def __call__(
        self, level: Level, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        for i, convs in enumerate(self.convs):
            h = x
            for j, conv in enumerate(convs):
                if self.norms is not None:
                    h = self.norms[i][j](h, level)
                h = conv(jax.nn.elu(h))
            x = x + h
        return x

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(self._parts())

    def _parts(self) -> Parts:
        for i, convs in enumerate(self.convs):
            for j, conv in enumerate(convs):
                name = f"{i + 1}_{j + 1}"
                if self.norms is not None:
                    inner = self.norms[i][j].state_names()
                    yield ("norms", i, j), f"{name}_norm", inner
                yield ("convs", i, j), f"{name}_conv", conv_names(conv)


class MultiResolutionFusion(eqx.Module):
    """Convolves feature maps of several resolutions and adds them at one of these."""

    convs: list[Conv]
    norms: list[Norm] | None

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        make_norm: MakeNorm | None,
        *,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`: of each feature map.
        - `out_channels`: of the sum.
        - `make_norm`: as for `NCSNBlock`, or `None` for no norms.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.convs = [
            Conv(n, out_channels, uniform=True, key=next(keys)) for n in in_channels
        ]
        self.norms = make_norm and [make_norm(n, key=next(keys)) for n in in_channels]

    def __call__(
        self, level: Level, xs: Sequence[Array], height: int, width: int
    ) -> Float[Array, "height width out_channels"]:
        if self.norms is not None:
            xs = [norm(x, level) for norm, x in zip(self.norms, xs, strict=True)]
        convolved = [conv(x) for conv, x in zip(self.convs, xs, strict=True)]
        first, *others = [resize_bilinear(h, height, width) for h in convolved]
        return sum(others, first)

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(_convs_and_norms(self.convs, self.norms))


class ChainedResidualPooling(eqx.Module):
    """Pools over 5x5 pixels and convolves, twice, and adds all that comes out.

    `x_0 = h_0 = elu(x)`, `h_{n+1} = conv_n(pool(h_n))`, `y = h_0 + h_1 + h_2`. The pool
    is a maximum, or, with norms, the mean of `norm_n(h_n)` in which pixels beyond the
    border count as zeros. The convolutions have no bias.
    """

    convs: list[Conv]
    norms: list[Norm] | None

    def __init__(self, channels: int, make_norm: MakeNorm | None, *, key: PRNGKeyArray):
        """**Arguments:**

        - `channels`: length of the last axis.
        - `make_norm`: as for `NCSNBlock`, or `None` for no norms and a maximum.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.convs = [
            Conv(channels, channels, use_bias=False, uniform=True, key=next(keys))
            for _ in range(2)
        ]
        self.norms = make_norm and [
            make_norm(channels, key=next(keys)) for _ in range(2)
        ]

    def __call__(
        self, level: Level, x: Float[Array, "height width channels"]
    ) -> Float[Array, "height width channels"]:
        y = path = jax.nn.elu(x)
        for n, conv in enumerate(self.convs):
            if self.norms is None:
                path = _pool(path, -jnp.inf, jax.lax.max)
            else:
                # Sums in at least float32.
                path = self.norms[n](path, level).astype(at_least_float32(x.dtype))
                path = (_pool(path, 0.0, jax.lax.add) / 25).astype(x.dtype)
            path = conv(path)
            y = y + path
        return y

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(_convs_and_norms(self.convs, self.norms))


def _convs_and_norms(convs: list[Conv], norms: list[Norm] | None) -> Parts:
    for i, conv in enumerate(convs):
        yield ("convs", i), f"convs.{i}", conv_names(conv)
    for i, norm in enumerate(norms or []):
        yield ("norms", i), f"norms.{i}", norm.state_names()


def _pool(x: Array, start: float, combine: Callable[..., Array]) -> Array:
    """Combines the 5x5 pixels around each: along columns, then along rows."""
    for window in ((5, 1, 1), (1, 5, 1)):
        x = jax.lax.reduce_window(x, start, combine, window, (1, 1, 1), "SAME")
    return x


class RefineBlock(eqx.Module):
    """One stage of a RefineNet (Lin et al., 2017).

    Residual units for each input, the fusion of the inputs at the resolution of the
    first, chained residual pooling, and residual units again.
    """

    adapt_convs: list[RCU]
    msf: MultiResolutionFusion | None
    crp: ChainedResidualPooling
    output_convs: RCU

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        make_norm: MakeNorm | None,
        *,
        last: bool = False,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `in_channels`: of each input.
        - `out_channels`: of the output.
        - `make_norm`: as for `NCSNBlock`, or `None` for no norms.
        - `last`: whether it is the network's last, which has three units at its end
            instead of one.
        - `key`: for the initial weights.
        """
        keys = split(key)
        self.adapt_convs = [RCU(n, 2, make_norm, key=next(keys)) for n in in_channels]
        self.msf = (
            MultiResolutionFusion(in_channels, out_channels, make_norm, key=next(keys))
            if len(in_channels) > 1
            else None
        )
        self.crp = ChainedResidualPooling(out_channels, make_norm, key=next(keys))
        self.output_convs = RCU(
            out_channels, 3 if last else 1, make_norm, key=next(keys)
        )

    def __call__(
        self, level: Level, *xs: Float[Array, "_ _ _"]
    ) -> Float[Array, "height width out_channels"]:
        adapted = [rcu(level, x) for rcu, x in zip(self.adapt_convs, xs, strict=True)]
        height, width, _ = xs[0].shape
        if self.msf is None:
            (h,) = adapted
        else:
            h = self.msf(level, adapted, height, width)
        return self.output_convs(level, self.crp(level, h))

    def state_names(self) -> dict[str, Place]:
        """The names of its original."""
        return gather(self._parts())

    def _parts(self) -> Parts:
        for i, rcu in enumerate(self.adapt_convs):
            yield ("adapt_convs", i), f"adapt_convs.{i}", rcu.state_names()
        yield ("output_convs",), "output_convs", self.output_convs.state_names()
        if self.msf is not None:
            yield ("msf",), "msf", self.msf.state_names()
        yield ("crp",), "crp", self.crp.state_names()

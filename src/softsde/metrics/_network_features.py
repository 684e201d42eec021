"""Features by a network: what is done to an image, and what the network makes of it."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ._features import AbstractFeatures
from ._hash import hash_tree
from ._networks._resize import resize_cubic, resize_tf1, to_bytes


class Preparation(NamedTuple):
    """Prepares an image for a network.

    It is rounded to 8 bits, resized, and mapped by `(u - offset) / scale`, channel by
    channel, where `u` are the levels 0 ... 255.

    - `rows`, `columns`: the size afterwards.
    - `tf1`: whether it is resized as TensorFlow 1 did, without smoothing; else by cubic
        convolution as Pillow does.
    - `clip`: whether what the cubic convolution overshoots is cut to 0 ... 255.
    - `offset`, `scale`: of the three channels.
    """

    rows: int
    columns: int
    tf1: bool
    clip: bool
    offset: tuple[float, float, float]
    scale: tuple[float, float, float]

    def words(self) -> str:
        """The resizing in words."""
        how = "TF1 bilinear" if self.tf1 else "cubic, antialiased"
        cut = ", clipped" if self.clip else ""
        return f"8 bits, then {how} to {self.rows}x{self.columns}{cut}"

    def apply(
        self, image: Float[Array, "height width 3"]
    ) -> Float[Array, "rows columns 3"]:
        """The image as the network sees it.

        **Arguments:**

        - `image`: entries in [0, 1].
        """
        resize = resize_tf1 if self.tf1 else resize_cubic
        u = resize(to_bytes(image), self.rows, self.columns)
        u = jnp.clip(u, 0, 255) if self.clip else u
        offset, scale = (np.array(v, np.float32) for v in (self.offset, self.scale))
        return (u - offset[None, None]) / scale[None, None]


class NetworkFeatures(AbstractFeatures):
    """Features of colour images by any network, with all that identifies them.

    [`softsde.metrics.inception_features`][], [`softsde.metrics.dinov2_features`][],
    [`softsde.metrics.clip_features`][] and
    [`softsde.metrics.efficientnet_features`][] make those of the literature.
    """

    network: Any
    preparation: Preparation = eqx.field(static=True)
    unit_length: bool = eqx.field(static=True)
    name: str = eqx.field(static=True)
    hash: str = eqx.field(static=True)
    resize: str = eqx.field(static=True)
    value_range: tuple[float, float] = eqx.field(static=True)
    size: tuple[int | None, int | None, int | None] = eqx.field(static=True)
    published: tuple[str, ...] = eqx.field(static=True)

    def __init__(
        self,
        network: Any,
        preparation: Preparation,
        *,
        name: str,
        unit_length: bool = False,
        sha256: str = "",
        published: tuple[str, ...] = (),
    ):
        """**Arguments:**

        - `network`: from one prepared image to a vector.
        - `preparation`: what is done to an image before.
        - `name`: what the features are, in words.
        - `unit_length`: whether each vector is divided by its length.
        - `sha256`: checksum of the file that the weights come from; without it, the
            hash of the present weights.
        - `published`: names that the literature has for distances in these features.
        """
        self.network = network
        self.preparation = preparation
        self.unit_length = unit_length
        self.name = name
        self.hash = sha256 or hash_tree(network)
        self.resize = preparation.words()
        self.value_range = (0.0, 1.0)
        self.size = (None, None, 3)
        self.published = published

    def __call__(
        self, images: Float[Array, "batch height width 3"]
    ) -> Float[Array, "batch features"]:
        def one(image):
            y = self.network(self.preparation.apply(image))
            return y / jnp.sqrt(jnp.sum(y**2)) if self.unit_length else y

        return jax.vmap(one)(images)

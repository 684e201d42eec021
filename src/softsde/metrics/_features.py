"""A feature space: a function of images with all that names it."""

import abc

import equinox as eqx
from jaxtyping import Array, Float


class AbstractFeatures(eqx.Module):
    """A function from images to vectors, together with all that identifies it.

    A distance between features means nothing without the features. So every result
    carries the fields below, and two results compare only if these are equal.

    - `name`: what the features are, in words: `"InceptionV3, pooled"`.
    - `hash`: hexadecimal SHA-256 of the present weights, or of the file that they come
        from. An empty string says that the weights cannot be seen; results with such
        features compare with nothing.
    - `resize`: what is done to an image before the network sees it, in words, such as
        `"8 bits, then TF1 bilinear to 299x299"`; `"none"` for nothing.
    - `value_range`: smallest and largest entry that an image may have. Images outside
        are refused.
    - `size`: `(height, width, channels)` of the images that are accepted, with `None`
        for an axis of any length.
    - `published`: names that the literature has for distances in exactly these
        features: `("FID", "KID", "IS")`, `("FD-DINOv2",)`, `("CMMD",)`. Empty unless
        the weights are the published ones, by their checksum, *and* the images are
        resized as published. Only these names are ever printed.

    A subclass writes `__call__`, which maps a batch of images to a batch of vectors. It
    must be pure JAX, and treat each image by itself: the last batch is filled up with
    images whose features are dropped. Weights are fields, not globals, so that they are
    arguments of the compiled program.
    """

    name: eqx.AbstractVar[str]
    hash: eqx.AbstractVar[str]
    resize: eqx.AbstractVar[str]
    value_range: eqx.AbstractVar[tuple[float, float]]
    size: eqx.AbstractVar[tuple[int | None, int | None, int | None]]
    published: eqx.AbstractVar[tuple[str, ...]]

    @abc.abstractmethod
    def __call__(
        self, images: Float[Array, "batch height width channels"]
    ) -> Float[Array, "batch features"]:
        """Features of a batch of images."""

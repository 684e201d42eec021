"""A small image classifier, whose features metrics compare images in."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from ._arguments import AbstractNetwork, Arguments, keep
from ._conv import Conv
from ._group_norm import GroupNorm
from ._image import check_image, image_shape
from ._initial_weights import split
from ._linear import Linear


class Classifier(AbstractNetwork):
    """A convolutional classifier with a named penultimate layer.

    ```python
    classifier = ss.nn.Classifier((28, 28, 1), num_classes=10, key=jax.random.key(0))
    logits = classifier(x)
    features = classifier.features(x)
    ```

    Each level is two 3x3 convolutions, the first of stride 2 (except at the finest
    level, where it only widens), each followed by a group norm and SiLU. The last
    feature map is flattened, not averaged: where a texture sits in a small image is
    worth knowing.
    """

    convs: list[Conv]
    norms: list[GroupNorm]
    hidden: Linear
    head: Linear
    dropout: eqx.nn.Dropout
    shape: tuple[int, int, int] = eqx.field(static=True)
    _arguments: Arguments = eqx.field(static=True)

    def __init__(
        self,
        shape: Sequence[int],
        *,
        num_classes: int,
        widths: Sequence[int] = (32, 64, 128),
        num_features: int = 128,
        dropout: float = 0.3,
        group_size: int = 8,
        key: PRNGKeyArray,
    ):
        """**Arguments:**

        - `shape`: `(height, width, channels)` of an image.
        - `num_classes`: length of the logits.
        - `widths`: channels of each level, finest first.
        - `num_features`: length of the penultimate layer.
        - `dropout`: probability with which an input of the last two layers is
            dropped, where the call is given a key.
        - `group_size`: channels to a group of every group norm.
        - `key`: for the initial weights.
        """
        self._arguments = keep(
            shape=shape,
            num_classes=num_classes,
            widths=widths,
            num_features=num_features,
            dropout=dropout,
            group_size=group_size,
        )
        self.shape = image_shape("Classifier", shape)
        height, width, channels = self.shape
        keys = split(key)
        self.convs, self.norms = [], []
        for level, out_channels in enumerate(widths):
            stride = 1 if level == 0 else 2
            height, width = -(-height // stride), -(-width // stride)
            for s in (stride, 1):
                self.convs.append(
                    Conv(channels, out_channels, stride=s, key=next(keys))
                )
                self.norms.append(GroupNorm(out_channels, group_size))
                channels = out_channels
        self.hidden = Linear(height * width * channels, num_features, key=next(keys))
        self.head = Linear(num_features, num_classes, key=next(keys))
        self.dropout = eqx.nn.Dropout(dropout)

    def features(
        self,
        x: Float[Array, "height width channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, " num_features"]:
        """The penultimate layer.

        **Arguments:**

        - `x`: an image.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** a vector of `num_features` numbers.
        """
        check_image("classifier", x, self.shape)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = jax.nn.silu(norm(conv(x)))
        x = self.dropout(jnp.ravel(x), key=key, inference=key is None)
        return jax.nn.silu(self.hidden(x))

    def __call__(
        self,
        x: Float[Array, "height width channels"],
        *,
        key: PRNGKeyArray | None = None,
    ) -> Float[Array, " num_classes"]:
        """**Arguments:**

        - `x`: an image.
        - `key`: for dropout. Without one there is none, which is inference.

        **Returns:** logits.
        """
        hidden_key, head_key = (None, None) if key is None else jax.random.split(key)
        x = self.features(x, key=hidden_key)
        return self.head(self.dropout(x, key=head_key, inference=key is None))

"""Features of many images: one compiled program, all devices, any number of images."""

from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float, Shaped

from ._arrays import AnyArray, check_positive_int


@runtime_checkable
class FeatureExtractor(Protocol):
    """Any function of one image, such as `classifier.features` or `classifier`.

    It sees a single image `(height, width, channels)` with entries in `[0, 1]` and
    gives a vector. It must be pure JAX; an Equinox module or a bound method of one is
    best, since its weights are then arguments of the compiled program, not constants
    in it.
    """

    def __call__(
        self, x: Float[Array, "height width channels"], /
    ) -> Float[Array, " dim"]: ...


def extract_features(
    fn: FeatureExtractor,
    images: Shaped[AnyArray, "num ..."],
    batch_size: int = 256,
) -> Float[np.ndarray, "num dim"]:
    """`fn` of every image, batched, compiled once, and sharded over the local devices.

    The last batch is filled up with zeros whose features are dropped, so that every
    batch has the same shape and no image's features depend on how many others there
    are. Images go to the devices a batch at a time: `images` may be a memory map.

    **Arguments:**

    - `fn`: a function of one image that gives a vector.
    - `images`: floating-point, `(num, height, width, channels)`, entries in `[0, 1]`.
    - `batch_size`: rounded up to a multiple of the number of local devices.

    **Returns:**

    A NumPy array `(num, dim)`.

    **Raises:** `TypeError` for integer images, `ValueError` if there are no images or
    `fn` does not give a vector.

    ```python
    features = ss.metrics.extract_features(classifier.features, samples)
    logits = ss.metrics.extract_features(classifier, samples)
    ```
    """
    check_positive_int("batch_size", batch_size)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"`images` has dtype {images.dtype}, but floats in [0, 1] are expected."
            " For bytes, pass `images.astype(np.float32) / 255`."
        )
    if len(images) == 0:
        raise ValueError("`images` is empty: there is nothing to extract features of.")
    devices = jax.local_devices()
    batch_size = -(-batch_size // len(devices)) * len(devices)
    mesh = Mesh(np.array(devices), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    # The weights may sit on one device, or on a training mesh.
    everywhere = NamedSharding(mesh, PartitionSpec())
    weights, rest = eqx.partition(fn, eqx.is_array)
    fn = eqx.combine(jax.device_put(weights, everywhere), rest)

    features = []
    for start in range(0, len(images), batch_size):
        batch = np.asarray(images[start : start + batch_size])
        missing = batch_size - len(batch)
        batch = np.pad(batch, [(0, missing)] + [(0, 0)] * (batch.ndim - 1))
        out = _apply(fn, jax.device_put(batch, split))
        if out.ndim != 2:
            raise ValueError(
                f"`fn` gave an array of shape {out.shape[1:]} for an image, but a"
                " vector is expected. Pool or ravel it."
            )
        features.append(np.asarray(out)[: batch_size - missing])
    return np.concatenate(features)


@eqx.filter_jit
def _apply(fn, batch):
    return jax.vmap(fn)(batch)

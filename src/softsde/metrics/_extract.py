"""Features of many images: one compiled program, all devices, any number of images."""

from collections.abc import Iterable, Iterator
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Float, Shaped

from .._opaque import has_opaque
from ._arrays import AnyArray, check_positive_int
from ._batches import batches_of, length_of
from ._features import AbstractFeatures
from ._function_features import FeatureExtractor, name_features
from ._progress import Progress

# Functions of these packages read nothing that changes.
_PURE = ("jax", "jaxlib", "equinox", "numpy", "builtins")


def extract_features(
    fn: AbstractFeatures | FeatureExtractor,
    images: Shaped[AnyArray, "num ..."] | Iterable,
    batch_size: int = 128,
    *,
    progress: bool = False,
) -> Float[np.ndarray, "num dim"]:
    """`fn` of every image, batched, compiled once, and sharded over the local devices.

    The last batch is filled up with zeros whose features are dropped, and every device
    always gets `batch_size` images. So all batches run the same program, and the
    features of an image depend neither on how many others there are nor on the number
    of devices. Images go to the devices a batch at a time: `images` may be a memory
    map. [`softsde.metrics.FeatureStatistics`][] keeps statistics instead of features.

    **Arguments:**

    - `fn`: a feature space, or a function of one image that gives a vector.
    - `images`: floating-point, `(num, height, width, channels)`, with entries in the
        range of the features, `[0, 1]` for a function; or an iterable of such arrays,
        of any lengths.
    - `batch_size`: number of images for each device at once.
    - `progress`: whether to show a bar.

    **Returns:**

    A NumPy array `(num, dim)`.

    **Raises:** `TypeError` for integer images. `ValueError` if there are no images; if
    they have mixed sizes, entries that are not finite (they are counted), or entries
    outside of the range; or if `fn` does not give a vector.

    ```python
    features = ss.metrics.extract_features(classifier.features, samples)
    logits = ss.metrics.extract_features(classifier, samples)
    ```
    """
    return np.concatenate(
        list(feature_batches(fn, images, batch_size, progress=progress))
    )


def feature_batches(
    fn: AbstractFeatures | FeatureExtractor,
    images: Shaped[AnyArray, "num ..."] | Iterable,
    batch_size: int = 128,
    *,
    progress: bool = False,
) -> Iterator[Float[np.ndarray, "num dim"]]:
    """The rows of [`softsde.metrics.extract_features`][], batch by batch.

    Memory does not grow with the number of images.

    **Arguments:** those of [`softsde.metrics.extract_features`][].

    **Returns:** an iterator over arrays `(num, dim)`, in the order of the images.

    ```python
    moments = ss.metrics.FeatureMoments.empty(dim=128)
    for features in ss.metrics.feature_batches(classifier.features, samples):
        moments = moments.update(features)
    ```
    """
    check_positive_int("batch_size", batch_size)
    space = name_features(fn)
    devices = jax.local_devices()
    mesh = Mesh(np.array(devices), ("data",))
    split = NamedSharding(mesh, PartitionSpec("data"))
    # The weights may sit on one device, or on a training mesh.
    everywhere = NamedSharding(mesh, PartitionSpec())
    weights, rest = eqx.partition(space, eqx.is_array)
    weights = jax.device_put(weights, everywhere)
    # A function that may read what changes is compiled for this pass only.
    apply = eqx.filter_jit(_Program()) if _may_change(space) else _apply

    total = batch_size * len(devices)
    with Progress(space.name, length_of(images), shown=progress) as bar:
        waiting: list[tuple[Any, int]] = []
        for batch, real in batches_of(images, total, space):
            out = apply(weights, rest, jax.device_put(batch, split), mesh)
            waiting.append((out, real))
            # One batch is prepared on the host while the devices compute another.
            if len(waiting) > 1:
                yield _finish(*waiting.pop(0), bar)
        for out, real in waiting:
            yield _finish(out, real, bar)


def _finish(out: jax.Array, real: int, bar: Progress) -> np.ndarray:
    rows = np.asarray(out)[:real]
    bar.advance(real)
    return rows


class _Program:
    """Features of one batch; each device computes those of its own images."""

    def __call__(self, weights, rest, batch, mesh):
        def shard(weights, part):
            return eqx.combine(weights, rest)(part)

        # Each device runs the program of `batch_size` images, whatever the number of
        # devices: a partitioner that sees the whole batch may choose another one.
        rows = PartitionSpec("data")
        mapped = jax.shard_map(
            shard,
            mesh=mesh,
            in_specs=(PartitionSpec(), rows),
            out_specs=rows,
            check_vma=False,
        )
        return mapped(weights, batch)


_apply = eqx.filter_jit(_Program())


def _may_change(space: AbstractFeatures) -> bool:
    """Tells whether some function in `space` may read what is not among its weights."""
    others = [leaf for leaf in jax.tree.leaves(space) if callable(leaf)]
    return has_opaque(space) or not all(
        (getattr(leaf, "__module__", None) or "").split(".")[0] in _PURE
        for leaf in others
    )

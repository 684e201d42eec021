"""Statistics of a reference set, computed once and kept by content."""

import pathlib
import re

import jax
import jax.numpy as jnp
from jaxtyping import Shaped

from .._files import PathLike
from ._arrays import AnyArray
from ._features import AbstractFeatures
from ._function_features import FeatureExtractor, name_features
from ._statistics import FeatureStatistics, key_of


def reference_statistics(
    fn: AbstractFeatures | FeatureExtractor,
    images: Shaped[AnyArray, "num ..."],
    *,
    cache: PathLike | None,
    keep: int = 10_000,
    blocks: int = 10,
    seed: int = 0,
    batch_size: int = 128,
    progress: bool = False,
) -> FeatureStatistics:
    """The statistics of `images`, read from `cache` if they are there.

    The name of the file is the hash of the images, of the weights of the features, and
    of all options. So other images or other weights never get an old file. A damaged
    file is replaced. Features with an unknown hash are computed each time.

    **Arguments:**

    - `fn`, `keep`, `blocks`, `seed`, `batch_size`, `progress`: as
        [`softsde.metrics.FeatureStatistics`][]`.of` has them.
    - `images`: an array or a memory map.
    - `cache`: the folder; `None` for no cache.

    **Returns:** the statistics.

    **Raises:** those of [`softsde.metrics.extract_features`][].

    ```python
    features = ss.metrics.FunctionFeatures(classifier.features, name="garments")
    ss.metrics.reference_statistics(features, train_images, cache="statistics").key
    ```
    """
    space = name_features(fn)
    compute = lambda: FeatureStatistics.of(
        space,
        images,
        keep=keep,
        blocks=blocks,
        seed=seed,
        batch_size=batch_size,
        progress=progress,
    )
    if cache is None or not space.hash or len(images) == 0:
        return compute()
    image = jax.ShapeDtypeStruct((1, *images.shape[1:]), jnp.result_type(images.dtype))
    if not jnp.issubdtype(images.dtype, jnp.floating):
        return compute()  # which says what is wrong with the images
    dim = jax.eval_shape(space, image).shape[1]
    key = key_of(space, images, dim, keep=keep, blocks=blocks, seed=seed)
    readable = re.sub(r"[^A-Za-z0-9]+", "_", space.name).strip("_")[:40]
    path = pathlib.Path(cache) / f"{readable}-{key[:32]}.npz"
    if path.exists():
        try:
            found = FeatureStatistics.load(path)
        except ValueError:
            found = None  # damaged: it is replaced below
        if found is not None and found.key == key:
            return found
    statistics = compute()
    statistics.save(path)
    return statistics

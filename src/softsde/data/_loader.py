"""From a source to an endless, resumable stream of batches.

The stream of images is fixed by `seed` alone: epoch after epoch, each a new
permutation. Each process takes its run of images out of every global batch, so that the
global batch `k` holds the same images in the same order however many processes share
the work, and an iterator's whole state is how many batches it has given.
"""

import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal

import grain
import numpy as np

from ._source import AbstractSource
from ._to_array import as_float


def make_loader(
    source: AbstractSource,
    batch_size: int,
    *,
    seed: int = 0,
    shuffle: bool = True,
    repeat: bool = True,
    transforms: Sequence[
        Callable | grain.transforms.Map | grain.transforms.RandomMap
    ] = (),
    drop_remainder: bool = True,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int = 1,
    dtype: Literal["float32", "uint8"] = "float32",
) -> grain.IterDataset:
    """Batches of a source, shuffled anew every epoch.

    A batch is `{"image": float32 (batch, height, width, channels) in [0, 1],
    "label": int32 (batch,)}` in numpy. Its iterator has `get_state()` and
    `set_state(state)`, and goes on exactly where the state was taken.

    With `repeat`, a batch may reach over the end of an epoch into the next: no image is
    dropped, and each is seen exactly once an epoch.

    **Arguments:**

    - `source`: where the images come from.
    - `batch_size`: images in a batch, over all processes together.
    - `seed`: fixes the permutations and the draws of random transforms.
    - `shuffle`: whether every epoch is a permutation; else the order of the source.
    - `repeat`: whether to go on for ever; else one epoch.
    - `transforms`: applied to `{"image", "label"}` in order, one image at a time: a
      callable, or a `grain.transforms.Map` or `RandomMap`.
    - `drop_remainder`: whether to leave out a last batch that is not full; with
      `repeat` there is none.
    - `process_index`, `process_count`: which share of each batch is this process's:
      `jax.process_index()` and `jax.process_count()` on several hosts. The batch of a
      process holds `batch_size / process_count` images.
    - `num_threads`: threads that prepare batches ahead; 0 prepares them in the caller's
      own. The batches are the same.
    - `dtype`: `"uint8"` leaves the images as bytes, a quarter of the memory on the way
      to the device; [`softsde.losses.on_batches`][] scales them there. The source and
      the transforms must give bytes.

    **Returns:** a grain data set to iterate over.

    **Raises:** ValueError where `batch_size` is not positive or larger than the data
    set (unless `drop_remainder=False`), the process is not one of the count, or the
    batch cannot be shared out evenly; TypeError where `dtype="uint8"` and the images
    are not bytes.

    !!! example
        ```python
        loader = iter(ss.data.make_loader(ss.data.digits(), 32))
        batch = next(loader)
        batch["image"].shape  # (32, 8, 8, 1)
        ```
    """
    total = len(source)
    if total < 1:
        raise ValueError("The source is empty: there is nothing to make batches of.")
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1, got {batch_size}.")
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be in [0, 2^32), got {seed}.")
    if num_threads < 0:
        raise ValueError(f"`num_threads` must be at least 0, got {num_threads}.")
    if not 0 <= process_index < process_count:
        raise ValueError(
            f"`process_index` must be in [0, process_count), got {process_index} of "
            f"{process_count}."
        )
    if batch_size % process_count != 0:
        above = batch_size + process_count - batch_size % process_count
        raise ValueError(
            f"A batch of {batch_size} images cannot be shared out evenly to "
            f"{process_count} processes. `batch_size` counts the images of all "
            f"processes: use a multiple of {process_count}, such as {above}."
        )
    if dtype not in ("float32", "uint8"):
        raise ValueError(f"`dtype` must be 'float32' or 'uint8', got {dtype!r}.")
    if drop_remainder and batch_size > total:
        raise ValueError(
            f"A batch of {batch_size} is more than the {total} images of the data set, "
            "so no batch would be full. Use "
            f"`batch_size={total - total % process_count}` or less, or "
            "`drop_remainder=False`."
        )
    order = _make_order(total, seed if shuffle else None)
    # grain's own `shuffle` and `repeat` would do as well, but they cost 10 to 30
    # microseconds an image (its index cipher walks a domain of at least 2^16 places),
    # which is two thirds of the whole pipeline.
    dataset = grain.MapDataset.range(sys.maxsize if repeat else total)
    dataset = dataset.map(lambda place: source[order(place)]).seed(seed)
    for transform in transforms:
        if isinstance(transform, grain.transforms.RandomMap):
            dataset = dataset.random_map(transform)
        else:
            dataset = dataset.map(transform)
    _check_item(dataset[0], dtype)
    if drop_remainder and not repeat:
        # Every process gets the same number of batches: in a collective computation a
        # process with one more would wait for the others for ever.
        dataset = dataset[: total - total % batch_size]
    # Shared out after the transforms: their draws then belong to the place in the
    # global stream, and no two processes repeat each other's. Every `process_count`-th
    # of the small batches is this process's, so side by side they are the global one.
    dataset = dataset.batch(
        batch_size // process_count,
        drop_remainder=drop_remainder,
        batch_fn=functools.partial(_collate, scale=dtype == "float32"),
    )
    dataset = dataset[process_index::process_count]
    return dataset.to_iter_dataset(
        grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=2 * num_threads)
    )


def _make_order(total: int, seed: int | None) -> Callable[[int], int]:
    """The index of the image at each place of the stream."""
    if seed is None:
        return lambda place: place % total

    # Two epochs are alive at a time: the one being read and the one being prefetched.
    @functools.lru_cache(maxsize=2)
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(total)

    def order(place: int) -> int:
        epoch, rest = divmod(place, total)
        return int(permutation(epoch)[rest])

    return order


def _check_item(item: Any, dtype: str) -> None:
    """Refuses, before any batch is made, what no batch could be made of."""
    if not (isinstance(item, dict) and {"image", "label"} <= item.keys()):
        raise TypeError(
            "Sources and transforms must give `{'image': ..., 'label': ...}`, got "
            f"{type(item).__name__}"
            + (f" with keys {list(item)}." if isinstance(item, dict) else ".")
        )
    image = np.asarray(item["image"])
    if image.ndim != 3 or image.dtype not in (np.uint8, np.float32):
        raise TypeError(
            "Images must be uint8 or float32 of shape (height, width, channels), got "
            f"{image.dtype} of shape {image.shape} from the source and transforms."
        )
    if dtype == "uint8" and image.dtype != np.uint8:
        raise TypeError(
            '`dtype="uint8"` needs a source and transforms that give uint8 images, got '
            f"{image.dtype}. Leave `dtype` at 'float32', or leave out the transform "
            "that makes floats, such as `Resize`."
        )
    if image.dtype == np.float32 and not (0 <= image.min() and image.max() <= 1):
        raise ValueError(
            f"Images must be in [0, 1], got [{image.min():g}, {image.max():g}] from "
            "the source and transforms."
        )


def _collate(
    items: Sequence[dict[str, Any]], *, scale: bool = True
) -> dict[str, np.ndarray]:
    images = np.stack([item["image"] for item in items])
    labels = np.array([item["label"] for item in items], np.int32)
    return {"image": as_float(images) if scale else images, "label": labels}

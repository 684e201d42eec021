"""Everything that metrics need of a set of images, in bounded memory."""

import dataclasses
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Shaped, UInt64

from .._files import PathLike, write_bytes
from ._arrays import AnyArray, check_positive_int
from ._extract import feature_batches
from ._features import AbstractFeatures
from ._function_features import FeatureExtractor, name_features
from ._hash import update
from ._moments import FeatureMoments
from ._space import FeatureSpace

# Rows of one block that are gathered before they are counted in.
_ROWS = 1024
_FORMAT = 1
_GOLDEN = 0x9E3779B97F4A7C15


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureStatistics:
    """Moments of the features of a set of images, and a random subset of the features.

    ```python
    features = ss.metrics.FunctionFeatures(classifier.features, name="garments")
    statistics = ss.metrics.FeatureStatistics.of(features, samples, blocks=3)
    statistics.moments.mean
    ```

    Memory does not grow with the number of images. Statistics of disjoint sets add up:
    of shuffled parts, and of the shares of several processes.

    - `space`: the description of the features.
    - `images`: hexadecimal hash of the images, which does not depend on their order.
    - `blocks`: moments of disjoint random parts, for error bars.
    - `kept`: features of a uniformly random subset, in random order, so that its first
        rows are a smaller one.
    - `priorities`: random numbers by which the subset was chosen, in increasing order.
    - `keep`, `seed`: the largest size of the subset, and the seed of random choices.
    """

    space: FeatureSpace
    images: str
    blocks: tuple[FeatureMoments, ...]
    kept: Float[np.ndarray, "kept dim"]
    priorities: UInt64[np.ndarray, " kept"]
    keep: int
    seed: int

    @classmethod
    def of(
        cls,
        fn: AbstractFeatures | FeatureExtractor,
        images: Shaped[AnyArray, "num ..."] | Iterable,
        *,
        keep: int = 10_000,
        blocks: int = 10,
        seed: int = 0,
        start: int = 0,
        batch_size: int = 128,
        progress: bool = False,
    ) -> "FeatureStatistics":
        """The statistics of images, by one pass over them.

        **Arguments:**

        - `fn`, `images`, `batch_size`, `progress`: as
            [`softsde.metrics.extract_features`][] has them.
        - `keep`: how many features to keep for metrics of neighbours and kernels.
        - `blocks`: number of parts for error bars.
        - `seed`: chooses the parts and the subset.
        - `start`: index of the first image among those of all processes. An image's
            part and its place in the subset depend on its index and on `seed`.

        **Returns:** the statistics.

        **Raises:** those of [`softsde.metrics.extract_features`][].
        """
        check_positive_int("keep", keep)
        check_positive_int("blocks", blocks)
        space = name_features(fn)
        content = _Content()
        parts: list[_Part] = []
        kept: list[np.ndarray] = []
        chosen: list[np.ndarray] = []
        index = start
        for rows in feature_batches(
            space, content.watch(images), batch_size, progress=progress
        ):
            if not parts:
                parts = [_Part(rows.shape[1]) for _ in range(blocks)]
            places = np.arange(index, index + len(rows), dtype=np.uint64)
            index += len(rows)
            which = _blocks_of(places, blocks, seed)
            for number, part in enumerate(parts):
                part.add(rows[which == number])
            kept.append(rows)
            chosen.append(_random(places, seed, 0))
            if sum(map(len, chosen)) > 2 * keep:
                kept, chosen = ([x] for x in _lowest(kept, chosen, keep))
        features, priorities = _lowest(kept, chosen, keep)
        return cls(
            space=FeatureSpace.of(space, features.shape[1]),
            images=content.hash,
            blocks=tuple(part.moments() for part in parts),
            kept=features,
            priorities=priorities,
            keep=keep,
            seed=seed,
        )

    @property
    def moments(self) -> FeatureMoments:
        """The moments of all images."""
        return FeatureMoments.total(self.blocks)

    @property
    def count(self) -> int:
        """The number of images."""
        return sum(block.count for block in self.blocks)

    @property
    def key(self) -> str:
        """Hexadecimal hash of the images and of what was done to them.

        It is the same on every machine, and says which reference a result belongs to.
        """
        return _key(self.images, self.space, self.keep, len(self.blocks), self.seed)

    def __add__(self, other: "FeatureStatistics") -> "FeatureStatistics":
        ours = (self.space, self.keep, len(self.blocks), self.seed)
        theirs = (other.space, other.keep, len(other.blocks), other.seed)
        if ours != theirs:
            raise ValueError(
                "statistics add up only if they have the same features, `keep`,"
                f" `blocks` and `seed`; got {ours} and {theirs}."
            )
        kept, priorities = _lowest(
            [self.kept, other.kept], [self.priorities, other.priorities], self.keep
        )
        total = (int(self.images, 16) + int(other.images, 16)) % 2**256
        return dataclasses.replace(
            self,
            images=f"{total:064x}",
            blocks=tuple(a + b for a, b in zip(self.blocks, other.blocks, strict=True)),
            kept=kept,
            priorities=priorities,
        )

    def across_processes(self) -> "FeatureStatistics":
        """The statistics of the images of all processes, the same on each of them.

        Every process calls this, with its own share of the images and their `start`.
        Without `jax.distributed` it returns the statistics themselves.
        """
        import jax
        from jax.experimental import multihost_utils

        if jax.process_count() == 1:
            return self
        content = np.frombuffer(self.to_bytes(), np.uint8)
        sizes = np.asarray(
            multihost_utils.process_allgather(np.array([len(content)], np.int32))
        ).ravel()
        padded = np.zeros(sizes.max(), np.uint8)
        padded[: len(content)] = content
        gathered = np.asarray(multihost_utils.process_allgather(padded))
        parts = [
            FeatureStatistics.from_bytes(row[:size].tobytes())
            for row, size in zip(gathered, sizes, strict=True)
        ]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        return whole

    def save(self, path: PathLike) -> None:
        """Writes the statistics to an `.npz` file, atomically."""
        write_bytes(path, self.to_bytes())

    @classmethod
    def load(cls, path: PathLike) -> "FeatureStatistics":
        """Reads what `save` has written; nothing in the file is executed.

        **Raises:** `ValueError` if the file holds no statistics.
        """
        with open(path, "rb") as file:
            return cls.from_bytes(file.read())

    def to_bytes(self) -> bytes:
        """The content of the file that `save` writes."""
        dim = self.space.dim
        upper = np.triu_indices(dim)
        about = {
            "format": _FORMAT,
            "space": dataclasses.asdict(self.space),
            "images": self.images,
            "keep": self.keep,
            "seed": self.seed,
        }
        file = io.BytesIO()
        np.savez(
            file,
            about=np.frombuffer(json.dumps(about).encode(), np.uint8),
            counts=np.array([block.count for block in self.blocks]),
            means=np.stack([block.mean for block in self.blocks]),
            scatters=np.stack([block.scatter[upper] for block in self.blocks]),
            kept=self.kept,
            priorities=self.priorities,
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "FeatureStatistics":
        """The statistics that `to_bytes` has written."""
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file:
                about = json.loads(file["about"].tobytes())
                if about["format"] != _FORMAT:
                    raise ValueError(f"format {about['format']}")
                counts, means = file["counts"], file["means"]
                scatters, kept = file["scatters"], file["kept"]
                priorities = file["priorities"]
            space = dict(about["space"])
            for name in ("value_range", "published"):
                space[name] = tuple(space[name])
            space = FeatureSpace(**space)
            blocks = tuple(
                FeatureMoments(int(count), mean, _symmetric(scatter, space.dim))
                for count, mean, scatter in zip(counts, means, scatters, strict=True)
            )
            return cls(
                space,
                about["images"],
                blocks,
                kept,
                priorities,
                about["keep"],
                about["seed"],
            )
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(
                f"these are no statistics of this version of softsde ({error})."
                " Compute them again."
            ) from error


def key_of(
    fn: AbstractFeatures,
    images: Shaped[AnyArray, "num ..."],
    dim: int,
    *,
    keep: int,
    blocks: int,
    seed: int,
) -> str:
    """The `key` of the statistics of `images`, without computing a feature."""
    content = _Content()
    for _ in content.watch(images):
        pass
    return _key(content.hash, FeatureSpace.of(fn, dim), keep, blocks, seed)


def _key(images: str, space: FeatureSpace, keep: int, blocks: int, seed: int) -> str:
    about = [_FORMAT, images, dataclasses.asdict(space), keep, blocks, seed]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()


class _Content:
    """The sum of the hashes of all images that pass: it does not know their order."""

    def __init__(self):
        self._sum = 0

    def watch(self, images: Any) -> Iterator[np.ndarray]:
        is_array = not isinstance(images, Sequence) and (
            isinstance(images, np.ndarray) or type(images).__module__.startswith("jax")
        )
        if is_array:
            parts = (images[i : i + 1024] for i in range(0, len(images), 1024))
        else:
            parts = images
        for part in parts:
            part = np.asarray(part)
            for image in part:
                digest = hashlib.sha256()
                update(digest, image)
                self._sum += int.from_bytes(digest.digest(), "big")
            yield part

    @property
    def hash(self) -> str:
        return f"{self._sum % 2**256:064x}"


class _Part:
    """The moments of one block; rows are counted in many at a time."""

    def __init__(self, dim: int):
        self._moments = FeatureMoments.empty(dim)
        self._waiting: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        self._waiting.append(rows)
        if sum(map(len, self._waiting)) >= _ROWS:
            self._flush()

    def moments(self) -> FeatureMoments:
        self._flush()
        return self._moments

    def _flush(self) -> None:
        if any(map(len, self._waiting)):
            self._moments = self._moments.update(np.concatenate(self._waiting))
        self._waiting = []


def _random(places: UInt64[np.ndarray, " n"], seed: int, stream: int) -> np.ndarray:
    """Random 64-bit numbers that depend on the place, the seed and the stream only.

    The finaliser of splitmix64 (Steele, Lea and Flood, 2014), twice.
    """
    steps = [_GOLDEN * (2 * seed + stream + 1) % 2**64, _GOLDEN * (seed + 1) % 2**64]
    x = places
    for step in steps:
        x = x + np.uint64(step)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x = x ^ (x >> np.uint64(31))
    return x


def _blocks_of(places: UInt64[np.ndarray, " n"], blocks: int, seed: int) -> np.ndarray:
    """The block of each place: of `blocks` consecutive places, one goes to each.

    Their order is random, because data may be in the order of their classes.
    """
    first = places[0] - places[0] % np.uint64(blocks)
    groups = (int(places[-1]) - int(first)) // blocks + 1
    span = first + np.arange(groups * blocks, dtype=np.uint64)
    order = np.argsort(_random(span, seed, 1).reshape(groups, blocks), axis=1)
    return order.ravel()[(places - first).astype(np.int64)]


def _lowest(
    rows: Sequence[np.ndarray], priorities: Sequence[np.ndarray], keep: int
) -> tuple[np.ndarray, np.ndarray]:
    features, order = np.concatenate(rows), np.concatenate(priorities)
    chosen = np.argsort(order, kind="stable")[:keep]
    return features[chosen], order[chosen]


def _symmetric(upper: np.ndarray, dim: int) -> np.ndarray:
    full = np.zeros((dim, dim))
    full[np.triu_indices(dim)] = upper
    return full + np.triu(full, 1).T

"""The options of an evaluation, and everything that it measures."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import softsde as ss

from . import _build, _cli, _run, classifier as _classifier
from ._config import DataConfig
from ._errors import FolderError
from ._solvers import SolverConfig


@dataclass(frozen=True)
class Evaluate:
    """Measure a model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or the name of a model that comes with the package."""
    num: int = 2000
    """Number of samples, and of held-out images at most."""
    sampler: Annotated[SolverConfig, tyro.conf.arg(name="")] = field(
        default_factory=SolverConfig
    )
    seed: int = 0
    """Seed of the samples."""
    classifier: str | None = None
    """A folder of `experiments.classifier`, the name of a shipped classifier, or
    `pixels` for none; by default, the classifier of the data if there is one."""
    reference: int = 60_000
    """Number of training images to compare with, at most."""
    nfe: str | None = None
    """Numbers of evaluations of the network to compare, such as `10,20,40`."""
    checkpoints: bool = False
    """Compare the checkpoints of the run, and keep the best as a model."""
    best_by: Literal["frechet_limit", "kernel_distance", "recall"] = "frechet_limit"
    """With `--checkpoints`: the metric that decides which is the best."""
    seeds: int | None = None
    """Number of sampling seeds, which give the error bars; by default 1, or 3 with
    `--nfe` or `--checkpoints`."""
    folder: Path | None = None
    """Where to write; by default `evaluation/` in the run folder, or for a model that
    comes with the package in runs/shipped/RUN."""


@dataclass(frozen=True)
class Space:
    """The features in which images are compared."""

    features: ss.metrics.AbstractFeatures
    #: From features to the logits of the classes; `None` without a classifier.
    head: Callable | None

    @property
    def name(self) -> str:
        return self.features.name


@dataclass(frozen=True)
class Reference:
    """The training images, and their statistics."""

    images: np.ndarray
    statistics: ss.metrics.FeatureStatistics
    #: Proportions of the classes; `None` without labels.
    proportions: np.ndarray | None
    #: Names of the classes, or their numbers.
    names: tuple[str, ...]
    #: The classes that the classifier sees in the images whose features are kept. It
    #: sees those of samples too, and makes the same mistakes. `None` without labels.
    classes: np.ndarray | None


#: Statistics of training images, by their content.
CACHE = Path("runs") / "statistics"

#: Of the images themselves, so many are searched for copies.
SEARCHED = 1000


def open_space(name: str | None, data: DataConfig) -> Space:
    """The feature space of a name, or by default that of the data's classifier."""
    pixels = Space(ss.metrics.PixelFeatures(), None)
    if name == "pixels":
        return pixels
    if name is None:
        try:
            name = _classifier.find(data.source, data.images)
        except FolderError as error:
            _cli.say(f"{error}\nSo images are compared by their pixels.")
            return pixels
    try:
        network, card = _classifier.load(name)
    except (ValueError, OSError) as error:
        raise FolderError(f"`--classifier {name}`: {error}") from error
    features = ss.metrics.FunctionFeatures(
        network.features,
        name=f"a classifier of {card['source']} ({card['test_accuracy']:.1%} right)",
        size=network.shape,
    )
    return Space(features, network.head)


def open_reference(source: ss.data.AbstractSource, limit: int, space: Space):
    """The training images and the statistics of their features."""
    images = ss.data.to_array(source, limit=limit)
    statistics = ss.metrics.reference_statistics(
        space.features, images, cache=CACHE, progress=True
    )
    labels = ss.data.to_labels(source, limit=limit)
    counts = np.bincount(labels[labels >= 0], minlength=max(source.num_classes, 1))
    has_classes = space.head is not None and counts.any()
    return Reference(
        images,
        statistics,
        counts / counts.sum() if has_classes else None,
        tuple(source.class_names or map(str, range(source.num_classes))),
        np.argmax(_logits(space, statistics.kept), axis=1) if has_classes else None,
    )


def measure_images(
    images: np.ndarray,
    real: np.ndarray | None,
    reference: Reference,
    space: Space,
    seed: int | None,
) -> tuple[dict[str, Any], dict[str, ss.metrics.Measurement]]:
    """All numbers of some images, and those that carry their interval and features.

    `real` are held-out images, with which samples are compared in a search for copies.
    """
    statistics = ss.metrics.FeatureStatistics.of(space.features, images, progress=True)
    measured = {
        "frechet_distance": ss.metrics.measure_frechet(
            statistics, reference.statistics, seed=seed
        ),
        "frechet_limit": ss.metrics.measure_frechet(
            statistics, reference.statistics, extrapolate=True, seed=seed
        ),
        "kernel_distance": ss.metrics.measure_kernel(
            statistics, reference.statistics, seed=seed
        ),
        **ss.metrics.measure_manifold(statistics, reference.statistics, seed=seed),
    }
    numbers: dict[str, Any] = {name: one.value for name, one in measured.items()}
    numbers["intervals"] = {
        name: list(one.interval) for name, one in measured.items() if one.interval
    }
    numbers["frechet_bias"] = ss.metrics.frechet_bias(
        reference.statistics.moments.covariance,
        statistics.count,
        reference.statistics.count,
    )
    numbers["sliced_wasserstein"] = ss.metrics.sliced_wasserstein(
        images, reference.images, key=jax.random.key(0)
    )
    found = ss.metrics.authenticity(images[:SEARCHED], reference.images)
    numbers["authentic_percent"] = found.percent
    numbers["nearest_training_image"] = float(np.median(found.distances))
    if real is not None:
        copies = ss.metrics.copy_test(
            images[:SEARCHED], real[:SEARCHED], reference.images
        )
        numbers["copies_p_value"] = copies.p_value
    if space.head is not None:
        logits = _logits(space, statistics.kept)
        numbers["classifier_score"] = ss.metrics.inception_score(
            logits, num_splits=min(10, len(logits) // 2)
        ).value
        if reference.proportions is not None and reference.classes is not None:
            classes = ss.metrics.class_proportions(
                logits, reference=reference.proportions
            )
            numbers["class_total_variation"] = classes.total_variation
            numbers["class_total_variation_expected"] = classes.expected_total_variation
            numbers["class_p_value"] = classes.p_value
            numbers["classes"] = {
                "proportions": classes.proportions.tolist(),
                "low": classes.low.tolist(),
                "high": classes.high.tolist(),
                "training": reference.proportions.tolist(),
                "kernel_distance": _by_class(
                    (statistics.kept, np.argmax(logits, axis=1)),
                    (reference.statistics.kept, reference.classes),
                    len(reference.proportions),
                ),
            }
    return numbers, measured


def _by_class(
    samples: tuple[np.ndarray, np.ndarray],
    training: tuple[np.ndarray, np.ndarray],
    number: int,
) -> list[float | None]:
    """The kernel distance of each class by itself; `None` for one of few samples.

    The Frechet distance would depend on how many samples a class has.
    """
    found = ss.metrics.class_wise(
        lambda a, b: ss.metrics.kernel_distance(a, b).value,
        *samples,
        *training,
        num_classes=number,
        at_least=10,
    )
    return [found[label] for label in range(number)]


def _logits(space: Space, features: np.ndarray) -> np.ndarray:
    """The logits of images whose features are at hand: they need no second pass."""
    assert space.head is not None
    head = ss.metrics.FunctionFeatures(
        space.head, name="logits", value_range=(-np.inf, np.inf)
    )
    return ss.metrics.extract_features(head, features)


#: Times at which the loss of the denoiser is measured.
SKILL_TIMES = np.linspace(0, 1, 11, dtype=np.float32)

#: Training images, and as many held-out ones, that the denoiser is compared with.
COMPARED = 10_000

#: Noisy images at each time, and swaps of training images for others.
POINTS, SWAPS = 128, 99


def memorisation(
    model: ss.Model, held_out: np.ndarray, training: np.ndarray
) -> dict[str, Any] | None:
    """Distances of the denoiser to those that have memorised either set, over time.

    `None` if there is no time with noise, or too few images.
    """
    num = min(len(held_out), len(training), COMPARED)
    times = [float(t) for t in SKILL_TIMES[1:]]
    times = [t for t in times if float(model.process.sigma(t)) > 0]
    if num < 2 or not times:
        return None
    # In a random order: the first images of the data may differ from the others.
    order = np.random.default_rng(0).permutation(len(training))
    curve = ss.metrics.memorisation_curve(
        model.denoiser,
        training[np.sort(order[:num])],
        held_out[:num],
        times,
        reference=training[np.sort(order[: _build.FITTED_ON])],
        num_points=POINTS,
        num_permutations=SWAPS,
        key=jax.random.key(0),
    )
    numbers = {name: np.asarray(x).tolist() for name, x in curve._asdict().items()}
    return numbers | {"copied": curve.copied.tolist(), "num": num}


def skill(
    denoiser: ss.denoisers.AbstractDenoiser, images: np.ndarray, training: np.ndarray
) -> list[float | None]:
    """The loss at each of `SKILL_TIMES`; that of the best affine denoiser is 1.

    `None` at a time without noise, and at one where nothing is left of the images:
    there is nothing to learn.
    """
    units = ss.losses.affine_losses(denoiser.process, training, SKILL_TIMES)
    loss = ss.losses.SoftScoreMatching("one")
    samples = jnp.asarray(images[:500])
    keys = jax.random.split(jax.random.key(0), len(samples))

    @jax.jit
    def mean(t):
        one = lambda x, k: loss(denoiser, x, t, key=k)
        return jnp.mean(jax.vmap(one)(samples, keys))

    return [
        float(mean(t)) / unit if unit > 0 else None
        for t, unit in zip(SKILL_TIMES, units, strict=True)
    ]


def held_out(data: DataConfig, num: int, training: ss.data.AbstractSource):
    """Images of the test split, or training images for data without one."""
    try:
        source, name = _build.make_source(data, "test"), "test images"
    except FolderError:
        source, name = training, "training images"
    return ss.data.to_array(source, limit=num), name


class Subject:
    """A model, and all that its samples are compared with: opened once for all seeds.

    Mistakes in the command show when it is made, before anything is drawn.
    """

    def __init__(self, command: Evaluate):
        self._command = command
        self.model = _run.open_model(command.run)
        self._data = _run.data_of(self.model)
        self.space = open_space(command.classifier, self._data)
        self._source = _build.make_source(self._data)
        self.sampler = command.sampler.completed(_run.sampler_of(command.run))
        self.folder = command.folder or _run.output_folder(command.run) / "evaluation"

    @functools.cached_property
    def held_out(self) -> tuple[np.ndarray, str]:
        """Held-out images, and what they are called."""
        return held_out(self._data, self._command.num, self._source)

    @functools.cached_property
    def reference(self) -> Reference:
        """The training images, and their statistics."""
        with _cli.stage("Reading the training images"):
            return open_reference(self._source, self._command.reference, self.space)

    @functools.cached_property
    def number(self) -> int:
        """As many samples as held-out images: distances depend on the number."""
        real, name = self.held_out
        number = min(self._command.num, len(real))
        if number < self._command.num:
            _cli.say(f"There are {len(real)} {name}: as many samples are drawn.")
        return number

    @functools.cached_property
    def fixed(self) -> dict[str, Any]:
        """The part of a report that is the same for all samples of the model."""
        real, name = self.held_out
        with _cli.stage(f"Measuring {len(real):,} {name} and the denoiser"):
            fair, _ = measure_images(real, None, self.reference, self.space, None)
            fitted_on = self.reference.images[: _build.FITTED_ON]
            losses = skill(self.model.denoiser, real, fitted_on)
        copied = None
        if name == "test images":
            with _cli.stage("Comparing the denoiser with copies"):
                copied = memorisation(self.model, real, self.reference.images)
        return {
            "relative_loss": {
                "times": np.round(SKILL_TIMES, 2).tolist(),
                "loss": losses,
            },
            "memorisation": copied,
            "held_out_name": name,
            "class_names": list(self.reference.names),
            "held_out": fair,
        }

    def file(self, ending: str) -> Path:
        """The file of a result: one for each sampler and number of samples."""
        return self.folder / f"{self.sampler.label}_{self.number}_{ending}"

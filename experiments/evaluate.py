"""Measure a model: `python -m experiments.evaluate RUN`.

Draws samples and compares them with the training images: Frechet distance, precision
and recall in the features of a small classifier, sliced Wasserstein distance of the
pixels, class proportions, and the distance to the nearest training image, which is
small for a model that copies. A second column does the same for held-out images, as a
reference. None of the numbers is an FID, which uses another classifier.

It also measures the denoiser itself: its loss on held-out images over time, relative to
the loss of the best affine denoiser.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import softsde as ss
from softsde._files import write_json

from . import _build, _cli, _run, classifier as _classifier
from ._config import DataConfig
from ._errors import CommandError, FolderError
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
    folder: Path | None = None
    """Where to write; by default `evaluation/` in the run folder, or for a model that
    comes with the package in runs/shipped/RUN."""


@dataclass(frozen=True)
class Space:
    """The features in which images are compared."""

    name: str
    features: Callable
    #: The logits of the classes; `None` without a classifier.
    logits: Callable | None


@dataclass(frozen=True)
class Reference:
    """The training images, and their statistics."""

    images: np.ndarray
    features: np.ndarray
    moments: ss.metrics.FeatureMoments
    #: Proportions of the classes; `None` without labels.
    proportions: np.ndarray | None


def open_space(name: str | None, data: DataConfig) -> Space:
    """The feature space of a name, or by default that of the data's classifier."""
    if name == "pixels":
        return Space("pixels", jnp.ravel, None)
    if name is None:
        try:
            name = _classifier.find(data.source, data.images)
        except FolderError as error:
            _cli.say(f"{error}\nSo images are compared by their pixels.")
            return Space("pixels", jnp.ravel, None)
    try:
        network, card = _classifier.load(name)
    except (ValueError, OSError) as error:
        raise FolderError(f"`--classifier {name}`: {error}") from error
    return Space(
        f"a classifier of {card['source']} ({card['test_accuracy']:.1%} right)",
        network.features,
        network,
    )


def open_reference(source: ss.data.AbstractSource, limit: int, space: Space):
    """The training images and their features."""
    images = ss.data.to_array(source, limit=limit)
    features = ss.metrics.extract_features(space.features, images)
    labels = ss.data.to_labels(source, limit=limit)
    counts = np.bincount(labels[labels >= 0], minlength=max(source.num_classes, 1))
    return Reference(
        images,
        features,
        ss.metrics.FeatureMoments.of(features),
        counts / counts.sum() if space.logits is not None and counts.any() else None,
    )


def measure(images: np.ndarray, reference: Reference, space: Space) -> dict[str, float]:
    """All numbers of some images, samples or real."""
    features = ss.metrics.extract_features(space.features, images)
    report = ss.metrics.frechet_report(
        ss.metrics.FeatureMoments.of(features), reference.moments, space=space.name
    )
    stride = max(1, len(reference.features) // len(features))
    covered = ss.metrics.precision_recall(
        features, reference.features[::stride][: len(features)]
    )
    _, nearest = ss.metrics.nearest_neighbours(images[:1000], reference.images)
    numbers = {
        "frechet_distance": report.distance,
        "frechet_bias": report.bias,
        "precision": covered.precision,
        "recall": covered.recall,
        "sliced_wasserstein": ss.metrics.sliced_wasserstein(
            images, reference.images, key=jax.random.key(0)
        ),
        "nearest_training_image": float(np.median(nearest)),
    }
    if space.logits is not None and reference.proportions is not None:
        logits = ss.metrics.extract_features(space.logits, images)
        classes = ss.metrics.class_proportions(logits, reference=reference.proportions)
        numbers["class_total_variation"] = classes.total_variation
        numbers["class_total_variation_expected"] = classes.expected_total_variation
    return numbers


#: Times at which the loss of the denoiser is measured.
SKILL_TIMES = np.linspace(0, 1, 11, dtype=np.float32)

_ROWS = {
    "frechet_distance": "Frechet distance (features)",
    "frechet_bias": "  equal distributions give",
    "precision": "precision (features)",
    "recall": "recall (features)",
    "sliced_wasserstein": "sliced Wasserstein (pixels)",
    "class_total_variation": "class proportions, total variation",
    "class_total_variation_expected": "  fair draws give",
    "nearest_training_image": "nearest training image, median L2",
}


def skill(model: ss.Model, images: np.ndarray, training: np.ndarray) -> list[float]:
    """The loss at each of `SKILL_TIMES`; that of the best affine denoiser is 1."""
    denoiser = model.denoiser
    weight = ss.losses.RelativeWeight.fit(model.process, training)
    loss = ss.losses.SoftScoreMatching(weight)
    samples = jnp.asarray(images[:500])
    keys = jax.random.split(jax.random.key(0), len(samples))

    @jax.jit
    def mean(t):
        one = lambda x, k: loss(denoiser, x, t, key=k)
        return jnp.mean(jax.vmap(one)(samples, keys))

    return [float(mean(t)) for t in SKILL_TIMES]


def table(report: dict[str, Any]) -> str:
    """The report as text."""
    samples, held_out = report["samples"], report["held_out"]
    lines = [
        f"features: {report['space']}",
        f"{'':38}{'samples':>10}{report['held_out_name']:>16}",
    ]
    for name, text in _ROWS.items():
        if name in samples:
            lines.append(f"{text:38}{samples[name]:>10.4g}{held_out[name]:>16.4g}")
    lines.append(
        "loss of the denoiser from t = 0 to 1; that of the best affine one is 1:"
    )
    lines.append(" ".join(f"{value:.2f}" for value in report["relative_loss"]["loss"]))
    lines.append(
        "If samples are much nearer to the training set than test images are, the "
        "model is copying."
    )
    return "\n".join(lines)


def held_out(data: DataConfig, num: int, training: ss.data.AbstractSource):
    """Images of the test split, or training images for data without one."""
    try:
        source, name = _build.make_source(data, "test"), "test images"
    except FolderError:
        source, name = training, "training images"
    return ss.data.to_array(source, limit=num), name


def evaluate(command: Evaluate) -> tuple[list[Path], dict[str, Any]]:
    """Draws, measures, and returns the paths written and the report."""
    for option, value in (("num", command.num), ("reference", command.reference)):
        if value < 10:
            raise CommandError(f"`--{option}` is {value}; expected at least 10.")
    began = time.monotonic()
    model = _run.open_model(command.run)
    # Mistakes show here, before the samples are drawn.
    data = _run.data_of(model)
    space = open_space(command.classifier, data)
    source = _build.make_source(data)
    real, real_name = held_out(data, command.num, source)
    folder = command.folder or _run.output_folder(command.run) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)

    sampler = command.sampler.completed(_run.sampler_of(command.run))
    # As many samples as real images: distances depend on the number.
    number = min(command.num, len(real))
    if number < command.num:
        _cli.say(f"There are {len(real)} {real_name}: as many samples are drawn.")
    with _cli.stage(f"Drawing {number:,} samples, {sampler.label}"):
        images = model.sample(number, seed=command.seed, **sampler.options())
    # Real images lie in [0, 1]. A little noise outside should not make a difference.
    images = np.clip(images, 0, 1)
    with _cli.stage("Reading the training images"):
        reference = open_reference(source, command.reference, space)
    with _cli.stage("Measuring samples, the denoiser and real images"):
        measured = measure(images, reference, space)
        losses = skill(model, real, reference.images[: _build.FITTED_ON])
        measured_real = measure(real, reference, space)
    report = {
        "model": model.card,
        "sampler": asdict(sampler),
        "num": number,
        "seed": command.seed,
        "space": space.name,
        "reference": f"{len(reference.images)} training images",
        "samples": measured,
        "relative_loss": {
            "times": np.round(SKILL_TIMES, 2).tolist(),
            "loss": losses,
        },
        "held_out_name": real_name,
        "held_out": measured_real,
        "commit": _run.commit(),
        "seconds": round(time.monotonic() - began, 1),
    }
    # One result a sampler.
    stem = f"{sampler.label}_{number}_seed{command.seed}"
    write_json(folder / f"{stem}.json", report)

    ss.plotting.plot_curves(
        SKILL_TIMES,
        {
            "the model": np.array(report["relative_loss"]["loss"]),
            "best affine denoiser": np.ones(len(SKILL_TIMES)),
        },
        folder / "relative_loss.png",
        y_label="Soft Score Matching loss",
        title=f"on {real_name}, relative",
    )
    scale, pad = _run.layout(images.shape[1:])
    ss.plotting.save_grid(
        folder / f"{stem}.png",
        images[:64],
        scale=scale,
        pad=pad,
        title=f"64 samples, {sampler.label}, uncurated",
    )
    ss.plotting.save_grid(
        folder / "real.png", real[:64], scale=scale, pad=pad, title=f"64 {real_name}"
    )
    indices, distances = ss.metrics.nearest_neighbours(
        images[:10], reference.images, k=6
    )
    ss.plotting.plot_neighbours(
        images[:10],
        reference.images[indices],
        folder / f"{stem}_neighbours.png",
        distances=distances,
        scale=scale,
    )
    names = (
        f"{stem}.json",
        f"{stem}.png",
        f"{stem}_neighbours.png",
        "real.png",
        "relative_loss.png",
    )
    return [folder / name for name in names], report


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Evaluate, "experiments.evaluate", __doc__)
    paths, report = evaluate(command)
    print(table(report))
    _cli.wrote(*paths)
    _cli.next_commands(
        _cli.command("experiments.sample", command.run),
        _cli.command("experiments.samplers", command.run),
    )


if __name__ == "__main__":
    main()

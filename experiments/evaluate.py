"""Measure a model: `python -m experiments.evaluate RUN`.

Draws samples and compares them with the training images: Frechet distance, precision
and recall in the feature space of a small classifier, sliced Wasserstein distance of
the pixels, class proportions, and nearest training images, by which memorisation would
be seen. Held-out images go through the same, since no figure means much without what
real images score. None of the figures is an FID, which is of another feature space.

Beside the samples it measures the denoiser itself: its loss on held-out images over
time, in units of the loss of the best affine denoiser.
"""

import json
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

from . import _build, _cli, _run, classifier as _classifier
from ._solvers import SolverConfig


@dataclass(frozen=True)
class Evaluate:
    """Measure a model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or the name of a model that comes with the code."""
    num: int = 2000
    """How many samples to draw, and as many held-out images at most."""
    sampler: Annotated[SolverConfig, tyro.conf.arg(name="")] = field(
        default_factory=SolverConfig
    )
    seed: int = 0
    """Of the samples."""
    classifier: str | None = None
    """Its file, or `pixels` for none; by default, the one there is for the data."""
    reference: int = 60_000
    """How many training images to compare with, at most."""
    folder: Path | None = None
    """Where to write; by default `evaluation/` in the run folder."""


@dataclass(frozen=True)
class Space:
    """What images are compared in."""

    name: str
    features: Callable
    #: Gives the logits of the classes, if anything does.
    logits: Callable | None


@dataclass(frozen=True)
class Reference:
    """The training images, and what is computed of them once."""

    images: np.ndarray
    features: np.ndarray
    moments: ss.metrics.FeatureMoments
    #: Proportions of the classes, where there are labels.
    proportions: np.ndarray | None


def open_space(name: str | None, source: str) -> Space:
    """The feature space that was asked for, or that of the data's own classifier."""
    if name == "pixels":
        return Space("pixels", jnp.ravel, None)
    path = _classifier.find(source) if name is None else Path(name)
    if not path.exists():
        raise FileNotFoundError(
            f"There is no classifier in {path}. Train one with `python -m "
            f"experiments.classifier {source}`."
        )
    network, card = _classifier.load(path)
    return Space(
        f"a classifier of {card['source']} ({card['test_accuracy']:.1%} right)",
        network.features,
        network,
    )


def open_reference(source: ss.data.AbstractSource, limit: int, space: Space):
    """The training images in the space that they are compared in."""
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
    """All figures of some images, samples or real."""
    features = ss.metrics.extract_features(space.features, images)
    report = ss.metrics.frechet_report(
        ss.metrics.FeatureMoments.of(features), reference.moments, space=space.name
    )
    stride = max(1, len(reference.features) // len(features))
    covered = ss.metrics.precision_recall(
        features, reference.features[::stride][: len(features)]
    )
    _, nearest = ss.metrics.nearest_neighbours(images[:1000], reference.images)
    figures = {
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
        figures["class_total_variation"] = classes.total_variation
        figures["class_total_variation_expected"] = classes.expected_total_variation
    return figures


#: When the denoiser is looked at.
SKILL_TIMES = np.linspace(0, 1, 11, dtype=np.float32)

_ROWS = {
    "frechet_distance": "Frechet distance (features)",
    "frechet_bias": "  equal distributions would give",
    "precision": "precision (features)",
    "recall": "recall (features)",
    "sliced_wasserstein": "sliced Wasserstein (pixels)",
    "class_total_variation": "class proportions, total variation",
    "class_total_variation_expected": "  fair draws would give",
    "nearest_training_image": "nearest training image, median L2",
}


def skill(model: _run.Model, images: np.ndarray, training: np.ndarray) -> list[float]:
    """The loss at each of `SKILL_TIMES`, where the best affine denoiser's is 1."""
    process, denoiser = model.process, model.denoiser
    weight = ss.losses.RelativeWeight.fit(process, training)
    loss = ss.losses.SoftScoreMatching(weight)
    samples = jnp.asarray(images[:500])
    keys = jax.random.split(jax.random.key(0), len(samples))

    @jax.jit
    def mean(t):
        one = lambda x, k: loss(denoiser, process, x, t, key=k)
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
    lines.append("loss of the denoiser over time; the best affine one's is 1:")
    lines.append(" ".join(f"{value:.2f}" for value in report["relative_loss"]["loss"]))
    lines.append("samples nearer to training images than real ones are would be copies")
    return "\n".join(lines)


def held_out(config, num: int, training: ss.data.AbstractSource):
    """Images that were not trained on, or, where there are none, some that were."""
    try:
        source, name = _build.make_source(config.data, "test"), "test images"
    except (ValueError, FileNotFoundError):
        source, name = training, "training images"
    return ss.data.to_array(source, limit=num), name


def evaluate(command: Evaluate) -> tuple[Path, dict[str, Any]]:
    """Draws, measures, and gives the folder and the report."""
    if command.num < 10:
        raise ValueError(f"`--num` is {command.num}; expected at least 10.")
    began = time.monotonic()
    model = _run.open_model(command.run)
    # What can fail should do so before the samples are drawn.
    space = open_space(command.classifier, model.config.data.source)
    source = _build.make_source(model.config.data)
    real, real_name = held_out(model.config, command.num, source)
    folder = command.folder or _run.output_folder(command.run) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)

    sampler = command.sampler.completed(model.config.sampling)
    images = model.sample(
        command.num, seed=command.seed, **sampler.options(model.process)
    )
    # Real images lie in [0, 1]; a little noise outside is not a difference to count.
    images = np.clip(images, 0, 1)
    reference = open_reference(source, command.reference, space)
    report = {
        "model": model.card,
        "sampler": asdict(sampler),
        "num": command.num,
        "seed": command.seed,
        "space": space.name,
        "reference": f"{len(reference.images)} training images",
        "samples": measure(images, reference, space),
        "relative_loss": {
            "times": np.round(SKILL_TIMES, 2).tolist(),
            "loss": skill(model, real, reference.images[: _build.FITTED_ON]),
        },
        "held_out_name": real_name,
        "held_out": measure(real, reference, space),
        "commit": _run.commit(),
        "seconds": round(time.monotonic() - began, 1),
    }
    (folder / "evaluation.json").write_text(json.dumps(report, indent=1) + "\n")

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
    scale, pad = _run.layout(model.shape)
    ss.plotting.save_grid(
        folder / "samples.png",
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
        folder / "neighbours.png",
        distances=distances,
        scale=scale,
    )
    return folder, report


def main() -> None:
    with _cli.plain_errors():
        command = _cli.parse(Evaluate, "experiments.evaluate", __doc__)
        folder, report = evaluate(command)
        print(table(report))
        names = (
            "evaluation.json",
            "samples.png",
            "real.png",
            "neighbours.png",
            "relative_loss.png",
        )
        _cli.wrote(*(folder / name for name in names))
        _cli.next_commands(
            f"python -m experiments.sample {command.run}",
            f"python -m experiments.pretrained {command.run} NAME",
        )


if __name__ == "__main__":
    main()

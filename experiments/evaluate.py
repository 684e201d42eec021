"""Measure a model: `python -m experiments.evaluate RUN`.

Draws samples and compares them with the training images: Frechet and kernel distance,
precision, recall, density and coverage in the features of a small classifier, sliced
Wasserstein distance of the pixels, and class proportions. Two statistics look for
copies of training images: the distance to the nearest one, and authenticity. A second
column does the same for as many held-out images, as a reference. None of the numbers is
an FID, which uses another classifier.

It also measures the denoiser itself: its loss on held-out images over time, relative to
the loss of the best affine denoiser.

With `--nfe 10,20,40`, it draws with several numbers of evaluations of the network
instead, and with several seeds each, and draws one picture of the distances.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
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
from ._solvers import SolverConfig, make_solver


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
    seeds: int = 3
    """With `--nfe`: number of sampling seeds for each, which give the error bars."""
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
    return Reference(
        images,
        statistics,
        counts / counts.sum() if space.head is not None and counts.any() else None,
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
        # The head takes features, which are at hand: the images need no second pass.
        logits = ss.metrics.extract_features(
            ss.metrics.FunctionFeatures(
                space.head, name="logits", value_range=(-np.inf, np.inf)
            ),
            statistics.kept,
        )
        numbers["classifier_score"] = ss.metrics.inception_score(
            logits, num_splits=min(10, len(logits) // 2)
        ).value
        if reference.proportions is not None:
            classes = ss.metrics.class_proportions(
                logits, reference=reference.proportions
            )
            numbers["class_total_variation"] = classes.total_variation
            numbers["class_total_variation_expected"] = classes.expected_total_variation
            numbers["class_p_value"] = classes.p_value
    return numbers, measured


#: Times at which the loss of the denoiser is measured.
SKILL_TIMES = np.linspace(0, 1, 11, dtype=np.float32)

_ROWS = {
    "frechet_distance": "Frechet distance (features)",
    "frechet_bias": "  equal distributions give",
    "frechet_limit": "  extrapolated to many samples",
    "kernel_distance": "kernel distance (features)",
    "precision": "precision (features)",
    "recall": "recall (features)",
    "density": "density (features)",
    "coverage": "coverage (features)",
    "classifier_score": "classifier score",
    "sliced_wasserstein": "sliced Wasserstein (pixels)",
    "class_total_variation": "class proportions, total variation",
    "class_total_variation_expected": "  fair draws give",
    "class_p_value": "  p-value of fair draws",
    "nearest_training_image": "nearest training image, median L2",
    "authentic_percent": "authentic images, per cent (pixels)",
    "copies_p_value": "  p-value of no copies",
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
    lines = [
        f"features: {report['space']}",
        f"{'':38}{'samples':>26}{report['held_out_name']:>26}",
    ]
    for name, text in _ROWS.items():
        cells = [_cell(report[of], name) for of in ("samples", "held_out")]
        if any(cells):
            lines.append(f"{text:38}{cells[0]:>26}{cells[1]:>26}")
    lines.append("in brackets: 95 % intervals")
    lines.append(
        "loss of the denoiser from t = 0 to 1; that of the best affine one is 1:"
    )
    lines.append(" ".join(f"{value:.2f}" for value in report["relative_loss"]["loss"]))
    lines.append(
        "If samples are much nearer to the training set than test images are, the "
        "model is copying."
    )
    return "\n".join(lines)


def _cell(numbers: dict[str, Any], name: str) -> str:
    if name not in numbers:
        return ""
    interval = numbers["intervals"].get(name)
    ends = "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"
    return f"{numbers[name]:.4g}{ends}"


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
    with _cli.stage("Measuring the samples"):
        samples, measured = measure_images(images, real, reference, space, command.seed)
    with _cli.stage(f"Measuring {len(real):,} {real_name} and the denoiser"):
        fair, _ = measure_images(real, None, reference, space, None)
        losses = skill(model, real, reference.images[: _build.FITTED_ON])
    report = {
        "model": model.card,
        "sampler": asdict(sampler),
        "num": number,
        "seed": command.seed,
        "space": space.name,
        "reference": f"{len(reference.images)} training images",
        "samples": samples,
        "measurements": [one.as_json() for one in measured.values()],
        "relative_loss": {
            "times": np.round(SKILL_TIMES, 2).tolist(),
            "loss": losses,
        },
        "held_out_name": real_name,
        "held_out": fair,
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


def parse_evaluations(text: str) -> list[int]:
    """The numbers of `--nfe`, in increasing order."""
    try:
        numbers = sorted({int(part) for part in text.split(",")})
    except ValueError:
        numbers = []
    if not numbers or numbers[0] < 1:
        raise CommandError(f"`--nfe` is {text!r}; expected numbers such as 10,20,40.")
    return numbers


#: The file of a sweep, beside those of the evaluations.
SWEEP = "sweep.json"
#: What is measured in a sweep, and how the axis of its picture is called.
SWEPT = {
    "frechet_limit": "Frechet distance, extrapolated",
    "kernel_distance": "kernel distance",
    "recall": "recall",
}


def sweep(command: Evaluate) -> tuple[Path, dict[str, Any]]:
    """Measures the same model with several numbers of evaluations and seeds.

    What is measured is written at once: the same command goes on where it stopped.
    """
    assert command.nfe is not None
    evaluations = parse_evaluations(command.nfe)
    if command.seeds < 2:
        raise CommandError(f"`--seeds` is {command.seeds}; error bars need at least 2.")
    model = _run.open_model(command.run)
    data = _run.data_of(model)
    space = open_space(command.classifier, data)
    source = _build.make_source(data)
    sampler = command.sampler.completed(_run.sampler_of(command.run))
    per_step = make_solver(sampler.solver or "multistep").evaluations_per_step
    wrong = [number for number in evaluations if number % per_step]
    if wrong:
        raise CommandError(
            f"`--nfe` has {wrong[0]}, but a step of this sampler takes {per_step} "
            "evaluations: choose multiples of that."
        )
    folder = command.folder or _run.output_folder(command.run) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / SWEEP
    reference = open_reference(source, command.reference, space)
    setting = {
        "num": command.num,
        "sampler": asdict(replace(sampler, steps=None)),
        "reference": reference.statistics.key,
    }
    report: dict[str, Any] = {**setting, "space": space.name, "rows": {}}
    if path.exists():
        report = json.loads(path.read_text())
        if {name: report[name] for name in setting} != setting:
            raise FolderError(
                f"{path} was measured with other options. Choose another `--folder`."
            )
    rows = report["rows"]
    if "held_out" not in report:
        real, report["held_out_name"] = held_out(data, command.num, source)
        report["held_out"] = _swept(real, reference, space)
        write_json(path, report)
    for number in evaluations:
        for seed in range(command.seed, command.seed + command.seeds):
            row = rows.setdefault(str(number), {})
            if str(seed) in row:
                continue
            options = replace(sampler, steps=number // per_step).options()
            with _cli.stage(f"{number} evaluations, seed {seed}"):
                images = model.sample(command.num, seed=seed, **options)
            row[str(seed)] = _swept(np.clip(images, 0, 1), reference, space)
            distance = row[str(seed)]["frechet_limit"]
            print(f"{number} evaluations, seed {seed}: {distance:.4g}", flush=True)
            write_json(path, report)
    report["evaluations"] = evaluations
    report["commit"] = _run.commit()
    write_json(path, report)
    plots = {
        axis: [
            list(row[name] for row in rows[str(number)].values())
            for number in evaluations
        ]
        for name, axis in SWEPT.items()
    }
    ss.plotting.plot_spread(
        np.array(evaluations),
        plots,
        folder / "sweep.png",
        x_label="evaluations of the network",
        lines={axis: report["held_out"][name] for name, axis in SWEPT.items()},
        line_label=report["held_out_name"],
        title=f"{command.run}, {command.num:,} samples of each seed",
    )
    return folder, report


def _swept(images: np.ndarray, reference: Reference, space: Space) -> dict[str, float]:
    statistics = ss.metrics.FeatureStatistics.of(space.features, images)
    theirs = reference.statistics
    limit = ss.metrics.measure_frechet(statistics, theirs, extrapolate=True)
    manifold = ss.metrics.measure_manifold(statistics, theirs)
    return {
        "frechet_limit": limit.value,
        "kernel_distance": ss.metrics.measure_kernel(statistics, theirs).value,
        "recall": manifold["recall"].value,
    }


def sweep_table(report: dict[str, Any]) -> str:
    """Means over the seeds, with the standard error of each, in Markdown."""
    lines = [
        f"features: {report['space']}",
        "| evaluations | " + " | ".join(SWEPT.values()) + " |",
        "| --- |" + " --- |" * len(SWEPT),
    ]
    for number in report["evaluations"]:
        cells = []
        for name in SWEPT:
            found = [row[name] for row in report["rows"][str(number)].values()]
            error = np.std(found, ddof=1) / np.sqrt(len(found))
            cells.append(f"{np.mean(found):.4g} ± {error:.2g}")
        lines.append(f"| {number} | " + " | ".join(cells) + " |")
    fair = [f"{report['held_out'][name]:.4g}" for name in SWEPT]
    lines.append(f"| ({report['held_out_name']}) | " + " | ".join(fair) + " |")
    return "\n".join(lines)


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Evaluate, "experiments.evaluate", __doc__)
    if command.nfe is not None:
        folder, report = sweep(command)
        print(sweep_table(report))
        _cli.wrote(folder / SWEEP, folder / "sweep.png")
        _cli.next_commands(_cli.command("experiments.evaluate", command.run))
        return
    paths, report = evaluate(command)
    print(table(report))
    _cli.wrote(*paths)
    _cli.next_commands(
        _cli.command("experiments.sample", command.run),
        _cli.command("experiments.samplers", command.run),
    )


if __name__ == "__main__":
    main()

"""Measure a model: `python -m experiments.evaluate RUN`.

Draws samples and compares them with the training images: Frechet and kernel distance,
precision, recall, density and coverage in the features of a small classifier, sliced
Wasserstein distance of the pixels, and class proportions. Two statistics look for
copies of training images: the distance to the nearest one, and authenticity. A second
column does the same for as many held-out images, as a reference. None of the numbers is
an FID, which uses another classifier.

It also measures the denoiser itself, over time: its loss on held-out images, relative
to the loss of the best affine denoiser, and its distances to the denoisers that would
have memorised training images and held-out ones.

With `--seeds 3` it does so for several sampling seeds, and prints their mean and its
standard error. With `--nfe 10,20,40`, it draws with several numbers of evaluations of
the network instead, and with several seeds each, and draws one picture of the
distances. With `--checkpoints`, it compares the checkpoints that a run has kept in the
same way, and keeps the best as a model.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro

import softsde as ss
from softsde._files import write_json

from . import _build, _cli, _run, classifier as _classifier
from ._checkpoints import KeptModels
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
    spread = report["samples"].get("standard_errors")
    lines.append(
        "in brackets: 95 % intervals"
        if spread is None
        else f"samples: means of {len(report['seeds'])} seeds ± their standard errors;"
        " in brackets: 95 % intervals"
    )
    lines.append(
        "loss of the denoiser from t = 0 to 1; that of the best affine one is 1:"
    )
    lines.append(" ".join(f"{value:.2f}" for value in report["relative_loss"]["loss"]))
    if (curve := report["memorisation"]) is not None:
        lines.append(
            f"copied from {curve['num']:,} training images, against as many "
            f"{report['held_out_name']}, over the same times with noise; 1 is all, 0 "
            f"none, p = {curve['p_value']:.2g}:"
        )
        lines.append(" ".join(f"{value:.2f}" for value in curve["copied"]))
    lines.append(
        "If samples are much nearer to the training set than test images are, the "
        "model is copying."
    )
    return "\n".join(lines)


def _cell(numbers: dict[str, Any], name: str) -> str:
    if name not in numbers:
        return ""
    if name in (errors := numbers.get("standard_errors", {})):
        return f"{numbers[name]:.4g} ± {errors[name]:.2g}"
    interval = numbers["intervals"].get(name)
    ends = "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"
    return f"{numbers[name]:.4g}{ends}"


def held_out(
    data: DataConfig, num: int, training: ss.data.AbstractSource | None = None
):
    """Images of the test split, or training images for data without one."""
    try:
        source, name = _build.make_source(data, "test"), "test images"
    except FolderError:
        source = _build.make_source(data) if training is None else training
        name = "training images"
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
    copied = None
    if real_name == "test images":
        with _cli.stage("Comparing the denoiser with copies"):
            copied = memorisation(model, real, reference.images)
    report = {
        "model": model.card,
        "sampler": asdict(sampler),
        "num": number,
        "seed": command.seed,
        "space": space.name,
        "reference": f"{len(reference.images)} training images",
        "reference_hash": reference.statistics.key,
        "samples": samples,
        "measurements": [one.as_json() for one in measured.values()],
        "relative_loss": {
            "times": np.round(SKILL_TIMES, 2).tolist(),
            "loss": losses,
        },
        "memorisation": copied,
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
    pictures = [f"{stem}.png", f"{stem}_neighbours.png", "real.png"]
    if copied is not None:
        ss.plotting.plot_curves(
            np.array(copied["times"]),
            {
                "of the training images": np.array(copied["to_training"]),
                f"of as many {real_name}": np.array(copied["to_held_out"]),
            },
            folder / "memorisation.png",
            y_label="squared distance, relative",
            title="to the denoiser that has memorised the images",
            logarithmic=True,
        )
        pictures.append("memorisation.png")
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
    names = (f"{stem}.json", *pictures, "relative_loss.png")
    return [folder / name for name in names], report


def over_seeds(command: Evaluate) -> tuple[list[Path], dict[str, Any]]:
    """Evaluates with several sampling seeds: the means, and their standard errors.

    Each seed writes what an evaluation of its own would write, so the same command goes
    on where it stopped.
    """
    assert command.seeds is not None
    if command.seeds < 2:
        raise CommandError(f"`--seeds` is {command.seeds}; error bars need at least 2.")
    seeds = list(range(command.seed, command.seed + command.seeds))
    paths, reports = [], []
    for seed in seeds:
        one = replace(command, seed=seed, seeds=None)
        written, report = _evaluated(one) or evaluate(one)
        paths += [path for path in written if path not in paths]
        reports.append(report)
    samples = dict(reports[0]["samples"])
    errors = {}
    for name in _ROWS:
        if name in samples:
            found = [report["samples"][name] for report in reports]
            samples[name] = float(np.mean(found))
            errors[name] = float(np.std(found, ddof=1) / np.sqrt(len(found)))
    # The intervals are those of the first seed alone.
    samples |= {"intervals": {}, "standard_errors": errors}
    report = reports[0] | {"seeds": seeds, "samples": samples}
    del report["seed"], report["measurements"]
    first = paths[0]
    path = first.with_name(
        first.stem.removesuffix(f"_seed{seeds[0]}")
        + f"_seeds{seeds[0]}to{seeds[-1]}.json"
    )
    write_json(path, report)
    return [path, *paths], report


def _evaluated(command: Evaluate) -> tuple[list[Path], dict[str, Any]] | None:
    """The evaluation of the same model by the same command, if it was made before."""
    model = _run.open_model(command.run)
    sampler = command.sampler.completed(_run.sampler_of(command.run))
    folder = command.folder or _run.output_folder(command.run) / "evaluation"
    data = _run.data_of(model)
    number = min(command.num, len(held_out(data, command.num)[0]))
    path = folder / f"{sampler.label}_{number}_seed{command.seed}.json"
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    space = open_space(command.classifier, data)
    reference = open_reference(_build.make_source(data), command.reference, space)
    expected = {
        "model": json.loads(json.dumps(model.card)),
        "sampler": asdict(sampler),
        "reference_hash": reference.statistics.key,
    }
    if any(report.get(name) != value for name, value in expected.items()):
        return None
    _cli.say(f"{path} is read: it is of the same model and options.")
    return [path], report


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
    model = _run.open_model(command.run)
    sampler = command.sampler.completed(_run.sampler_of(command.run))
    per_step = make_solver(sampler.solver or "multistep").evaluations_per_step
    wrong = [number for number in evaluations if number % per_step]
    if wrong:
        raise CommandError(
            f"`--nfe` has {wrong[0]}, but a step of this sampler takes {per_step} "
            "evaluations: choose multiples of that."
        )
    draws = {
        number: _Draw(
            lambda: model, replace(sampler, steps=number // per_step).options()
        )
        for number in evaluations
    }
    folder, report = _measure_rows(
        command,
        model,
        draws,
        SWEEP,
        {
            "sampler": asdict(replace(sampler, steps=None)),
            # A model that was trained further is another one.
            "trained": model.card.get("steps"),
        },
        "evaluations",
    )
    _plot_rows(command, folder / "sweep.png", report, "evaluations of the network")
    return folder, report


#: The file of a comparison of checkpoints, and the folder of the best one.
CHECKPOINTS, BEST = "checkpoints.json", "best"


def compare_checkpoints(command: Evaluate) -> tuple[Path, dict[str, Any]]:
    """Measures all checkpoints of a run with several seeds, and keeps the best one.

    What is measured is written at once: the same command goes on where it stopped.
    """
    if command.nfe is not None:
        raise CommandError("`--checkpoints` and `--nfe` do not go together. Give one.")
    kept = KeptModels(command.run)
    model = _run.open_model(command.run)
    sampler = command.sampler.completed(_run.sampler_of(command.run))
    draws = {
        step: _Draw(lambda step=step: kept.model(step), sampler.options())
        for step in kept.steps
    }
    folder, report = _measure_rows(
        command, model, draws, CHECKPOINTS, {"sampler": asdict(sampler)}, "steps"
    )
    means = {
        step: float(np.mean([row[command.best_by] for row in rows.values()]))
        for step, rows in report["rows"].items()
        if int(step) in draws
    }
    # Distances are good if small, and recall if large.
    choose = max if command.best_by == "recall" else min
    best = int(choose(means, key=means.__getitem__))
    report |= {"best": best, "best_by": command.best_by}
    write_json(folder / CHECKPOINTS, report)
    kept.model(best).save(folder / BEST)
    _plot_rows(command, folder / "checkpoints.png", report, "steps of training")
    return folder, report


@dataclass(frozen=True)
class _Draw:
    """How one point of a comparison is sampled; its model is read when it is due."""

    model: Callable[[], ss.Model]
    options: dict[str, Any]


def _measure_rows(
    command: Evaluate,
    model: ss.Model,
    draws: Mapping[int, _Draw],
    file: str,
    setting: dict[str, Any],
    unit: str,
) -> tuple[Path, dict[str, Any]]:
    """Measures every draw with every seed, except those that the file has already."""
    seeds = 3 if command.seeds is None else command.seeds
    if seeds < 2:
        raise CommandError(f"`--seeds` is {seeds}; error bars need at least 2.")
    data = _run.data_of(model)
    space = open_space(command.classifier, data)
    source = _build.make_source(data)
    folder = command.folder or _run.output_folder(command.run) / "evaluation"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    reference = open_reference(source, command.reference, space)
    setting = {
        "num": command.num,
        "reference": reference.statistics.key,
        **setting,
    }
    report: dict[str, Any] = {**setting, "space": space.name, "rows": {}}
    if path.exists():
        report = json.loads(path.read_text())
        changed = [name for name in setting if report.get(name) != setting[name]]
        if changed:
            raise FolderError(
                f"{path} was measured with other options: {', '.join(changed)} differ. "
                "Choose another `--folder`."
            )
    rows = report["rows"]
    if "held_out" not in report:
        real, report["held_out_name"] = held_out(data, command.num, source)
        report["held_out"] = _swept(real, reference, space)
        write_json(path, report)
    for number, draw in draws.items():
        row = rows.setdefault(str(number), {})
        missing = [
            seed
            for seed in range(command.seed, command.seed + seeds)
            if str(seed) not in row
        ]
        drawn_from = draw.model() if missing else model
        for seed in missing:
            with _cli.stage(f"{number} {unit}, seed {seed}"):
                images = drawn_from.sample(command.num, seed=seed, **draw.options)
            row[str(seed)] = _swept(np.clip(images, 0, 1), reference, space)
            distance = row[str(seed)]["frechet_limit"]
            print(f"{number} {unit}, seed {seed}: {distance:.4g}", flush=True)
            write_json(path, report)
    report |= {"unit": unit, unit: sorted(draws), "commit": _run.commit()}
    write_json(path, report)
    return folder, report


def _plot_rows(
    command: Evaluate, path: Path, report: dict[str, Any], x_label: str
) -> None:
    numbers, rows = report[report["unit"]], report["rows"]
    plots = {
        axis: [
            list(row[name] for row in rows[str(number)].values()) for number in numbers
        ]
        for name, axis in SWEPT.items()
    }
    ss.plotting.plot_spread(
        np.array(numbers),
        plots,
        path,
        x_label=x_label,
        lines={axis: report["held_out"][name] for name, axis in SWEPT.items()},
        line_label=report["held_out_name"],
        title=f"{command.run}, {command.num:,} samples of each seed",
    )


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
        f"| {report['unit']} | " + " | ".join(SWEPT.values()) + " |",
        "| --- |" + " --- |" * len(SWEPT),
    ]
    for number in report[report["unit"]]:
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
    if command.checkpoints:
        folder, report = compare_checkpoints(command)
        print(sweep_table(report))
        print(f"best by {SWEPT[report['best_by']]}: step {report['best']}")
        _cli.wrote(folder / CHECKPOINTS, folder / "checkpoints.png", folder / BEST)
        _cli.next_commands(_cli.command("experiments.sample", folder / BEST))
        return
    if command.nfe is not None:
        folder, report = sweep(command)
        print(sweep_table(report))
        _cli.wrote(folder / SWEEP, folder / "sweep.png")
        _cli.next_commands(_cli.command("experiments.evaluate", command.run))
        return
    paths, report = (evaluate if command.seeds is None else over_seeds)(command)
    print(table(report))
    _cli.wrote(*paths)
    _cli.next_commands(
        _cli.command("experiments.sample", command.run),
        _cli.command("experiments.samplers", command.run),
    )


if __name__ == "__main__":
    main()

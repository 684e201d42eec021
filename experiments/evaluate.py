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
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import softsde as ss
from softsde._files import write_json

from . import _cli, _run
from ._errors import CommandError
from ._evaluation import SKILL_TIMES, Evaluate, Subject, measure_images
from ._sweeps import (
    BEST,
    CHECKPOINTS,
    SWEEP,
    SWEPT,
    compare_checkpoints,
    sweep,
    sweep_table,
)

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
    lines += _class_lines(report)
    lines.append(
        "loss of the denoiser from t = 0 to 1; that of the best affine one is 1:"
    )
    lines.append(
        " ".join(
            "-" if value is None else f"{value:.2f}"
            for value in report["relative_loss"]["loss"]
        )
    )
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


def _class_lines(report: dict[str, Any]) -> list[str]:
    """A line for each class: its shares, and its distance by itself."""
    samples, real = report["samples"].get("classes"), report["held_out"].get("classes")
    if samples is None or real is None:
        return []
    number = lambda value: "-" if value is None else f"{value:.4g}"
    lines = [
        f"{'class':14}{'of training':>12}{'of samples':>26}{'kernel distance':>18}"
        f"{'of ' + report['held_out_name']:>18}"
    ]
    for i, name in enumerate(report["class_names"]):
        share = (
            f"{samples['proportions'][i]:.3f} [{samples['low'][i]:.3f}, "
            f"{samples['high'][i]:.3f}]"
        )
        distances = [number(of["kernel_distance"][i]) for of in (samples, real)]
        lines.append(
            f"{name[:13]:14}{samples['training'][i]:>12.3f}{share:>26}"
            f"{distances[0]:>18}{distances[1]:>18}"
        )
    return lines


def _cell(numbers: dict[str, Any], name: str) -> str:
    if name not in numbers:
        return ""
    if name in (errors := numbers.get("standard_errors", {})):
        return f"{numbers[name]:.4g} ± {errors[name]:.2g}"
    interval = numbers["intervals"].get(name)
    ends = "" if interval is None else f" [{interval[0]:.4g}, {interval[1]:.4g}]"
    return f"{numbers[name]:.4g}{ends}"


def _check_numbers(command: Evaluate) -> None:
    for option, value in (("num", command.num), ("reference", command.reference)):
        if value < 10:
            raise CommandError(f"`--{option}` is {value}; expected at least 10.")


def evaluate(
    command: Evaluate, subject: Subject | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Draws, measures, and returns the paths written and the report."""
    _check_numbers(command)
    began = time.monotonic()
    subject = Subject(command) if subject is None else subject
    model, sampler, folder = subject.model, subject.sampler, subject.folder
    folder.mkdir(parents=True, exist_ok=True)
    real, real_name = subject.held_out
    with _cli.stage(f"Drawing {subject.number:,} samples, {sampler.label}"):
        images = model.sample(subject.number, seed=command.seed, **sampler.options())
    # Real images lie in [0, 1]. A little noise outside should not make a difference.
    images = np.clip(images, 0, 1)
    reference, space = subject.reference, subject.space
    with _cli.stage("Measuring the samples"):
        samples, measured = measure_images(images, real, reference, space, command.seed)
    report = {
        "model": model.card,
        "sampler": asdict(sampler),
        "num": subject.number,
        "seed": command.seed,
        "space": space.name,
        "reference": f"{len(reference.images)} training images",
        "reference_hash": reference.statistics.key,
        "samples": samples,
        "measurements": [one.as_json() for one in measured.values()],
        **subject.fixed,
        "commit": _run.commit(),
        "seconds": round(time.monotonic() - began, 1),
    }
    copied = report["memorisation"]
    path = subject.file(f"seed{command.seed}.json")
    write_json(path, report)
    stem = path.stem

    ss.plotting.plot_curves(
        SKILL_TIMES,
        {
            # A time at which there is nothing to learn is a gap.
            "the model": np.array(report["relative_loss"]["loss"], float),
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
    _check_numbers(command)
    seeds = list(range(command.seed, command.seed + command.seeds))
    subject = Subject(command)
    paths, reports = [], []
    for seed in seeds:
        one = replace(command, seed=seed, seeds=None)
        written, report = evaluate_once(one, subject)
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
    path = subject.file(f"seeds{seeds[0]}to{seeds[-1]}.json")
    write_json(path, report)
    return [path, *paths], report


def _evaluated(subject: Subject, seed: int) -> tuple[list[Path], dict[str, Any]] | None:
    """The evaluation of the same model with the same options, if it was made before."""
    path = subject.file(f"seed{seed}.json")
    try:
        report = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    expected = {
        "model": json.loads(json.dumps(subject.model.card)),
        "sampler": asdict(subject.sampler),
        "reference_hash": subject.reference.statistics.key,
    }
    if any(report.get(name) != value for name, value in expected.items()):
        return None
    _cli.say(f"{path} is read: it is of the same model and options.")
    return [path], report


def evaluate_once(
    command: Evaluate, subject: Subject | None = None
) -> tuple[list[Path], dict[str, Any]]:
    """Evaluates, or reads what the same model with the same options gave before."""
    _check_numbers(command)
    subject = Subject(command) if subject is None else subject
    return _evaluated(subject, command.seed) or evaluate(command, subject)


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

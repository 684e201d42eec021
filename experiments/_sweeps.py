"""Compares numbers of evaluations, or checkpoints, over several sampling seeds."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import softsde as ss
from softsde._files import write_json

from . import _cli, _run
from ._checkpoints import KeptModels
from ._errors import CommandError, FolderError
from ._evaluation import (
    Evaluate,
    Reference,
    Space,
    Subject,
)
from ._solvers import make_solver


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
    subject = Subject(command)
    model, sampler = subject.model, subject.sampler
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
        subject,
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
    subject = Subject(command)
    sampler = subject.sampler
    draws = {
        step: _Draw(lambda step=step: kept.model(step), sampler.options())
        for step in kept.steps
    }
    folder, report = _measure_rows(
        command, subject, draws, CHECKPOINTS, {"sampler": asdict(sampler)}, "steps"
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
    """Samples one point of a comparison; its model is read when it is due."""

    model: Callable[[], ss.Model]
    options: dict[str, Any]


def _measure_rows(
    command: Evaluate,
    subject: Subject,
    draws: Mapping[int, _Draw],
    file: str,
    setting: dict[str, Any],
    unit: str,
) -> tuple[Path, dict[str, Any]]:
    """Measures every draw with every seed, except those that the file has already."""
    seeds = 3 if command.seeds is None else command.seeds
    if seeds < 2:
        raise CommandError(f"`--seeds` is {seeds}; error bars need at least 2.")
    space, folder, reference = subject.space, subject.folder, subject.reference
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
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
        real, report["held_out_name"] = subject.held_out
        report["held_out"] = _swept(real, reference, space)
        write_json(path, report)
    for number, draw in draws.items():
        row = rows.setdefault(str(number), {})
        missing = [
            seed
            for seed in range(command.seed, command.seed + seeds)
            if str(seed) not in row
        ]
        drawn_from = draw.model() if missing else subject.model
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

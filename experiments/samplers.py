"""Compare samplers on a model: `python -m experiments.samplers RUN`.

Draws samples with each of them at several numbers of evaluations of the network, and
measures the Frechet distance to the training images in the features of the classifier.
A killed run goes on where it was: each figure is written when it is there. The same
seeds start all samplers.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import softsde as ss
from softsde.schedules._io import write_json

from . import _build, _cli, _run
from ._solvers import SOLVERS, SolverConfig
from .evaluate import Reference, Space, held_out, open_reference, open_space

#: From what is drawn to how: on the flow, on the paper's clock, and with noise on top.
SAMPLERS: dict[str, dict[str, Any]] = {
    "Momentum, flow": {"solver": "momentum", "noise_clock": "flow"},
    "DDIM": {"solver": "ddim", "noise_clock": "flow"},
    "Heun-Momentum, flow": {"solver": "heun", "noise_clock": "flow"},
    "normalised Heun, flow": {"solver": "normalised_heun", "noise_clock": "flow"},
    "Multistep, flow": {"solver": "multistep", "noise_clock": "flow"},
    "Momentum": {"solver": "momentum"},
    "Momentum, churn": {"solver": "momentum", "churn": "half"},
    "Multistep, churn": {"solver": "multistep", "churn": "half"},
    "Naive": {"solver": "naive"},
}


@dataclass(frozen=True)
class Samplers:
    """Compare samplers on a model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or the name of a model that comes with the code."""
    evaluations: tuple[int, ...] = (10, 20, 40, 80)
    """Evaluations of the network for each sample, the last prediction left out."""
    num: int = 500
    """How many samples for each figure."""
    reference: int = 60_000
    """How many training images to compare with, at most."""
    seed: int = 0
    """Of the samples."""
    folder: Path | None = None
    """Where to write; by default `samplers/` in the run folder."""


def solver_config(name: str, evaluations: int) -> SolverConfig:
    """A sampler of the table, with as many steps as the evaluations pay for."""
    options = dict(SAMPLERS[name])
    cost = SOLVERS[options["solver"]][0].evaluations_per_step
    steps = evaluations // cost
    if options.get("churn") == "half":
        # As much as a step can follow: see `softsde.terms.ChurnClock`.
        options["churn"] = min(40.0, steps / 2)
    return SolverConfig(steps, **{"churn": 0.0, **options})


def compare(command: Samplers) -> tuple[Path, dict[str, Any]]:
    """Draws and measures what is not there yet; gives the folder and the report."""
    model = _run.open_model(command.run)
    space = open_space(None, model.config.data.source)
    source = _build.make_source(model.config.data)
    folder = command.folder or _run.output_folder(command.run) / "samplers"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samplers.json"
    setting = {"num": command.num, "seed": command.seed, "space": space.name}
    report: dict[str, Any] = {**setting, "frechet_distance": {}}
    if path.exists():
        before = json.loads(path.read_text())
        if {name: before[name] for name in setting} != setting:
            raise ValueError(
                f"{path} holds figures of another setting. Choose another `--folder`."
            )
        report = before
    reference = None
    if "held_out" not in report:
        # What real images score, without which no figure means much.
        reference = open_reference(source, command.reference, space)
        images, report["held_out_name"] = held_out(model.config, command.num, source)
        report["held_out"] = _distance(images, reference, space)
        write_json(path, report)
    for evaluations in sorted(command.evaluations):
        for name in SAMPLERS:
            row = report["frechet_distance"].setdefault(name, {})
            if str(evaluations) in row:
                continue
            reference = reference or open_reference(source, command.reference, space)
            options = solver_config(name, evaluations).options(model.process)
            images = model.sample(command.num, seed=command.seed, **options)
            row[str(evaluations)] = _distance(np.clip(images, 0, 1), reference, space)
            print(f"{name} with {evaluations} evaluations: {row[str(evaluations)]:.1f}")
            write_json(path, report)
    report["commit"] = _run.commit()
    write_json(path, report)
    return folder, report


def _distance(images: np.ndarray, reference: Reference, space: Space) -> float:
    features = ss.metrics.extract_features(space.features, images)
    moments = ss.metrics.FeatureMoments.of(features)
    report = ss.metrics.frechet_report(moments, reference.moments, space=space.name)
    return round(float(report.distance), 2)


def table(report: dict[str, Any]) -> str:
    """The report as a table, in Markdown."""
    rows = report["frechet_distance"]
    columns = sorted({int(n) for row in rows.values() for n in row})
    lines = [
        "| sampler | " + " | ".join(f"{n}" for n in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name, row in rows.items():
        cells = [f"{row[str(n)]:.1f}" if str(n) in row else "" for n in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    score = f"{report['held_out']:.1f}"
    lines.append(f"| {report['held_out_name']} |" + f" {score} |" * len(columns))
    return "\n".join(lines)


def main() -> None:
    with _cli.plain_errors():
        command = _cli.parse(Samplers, "experiments.samplers", __doc__)
        began = time.monotonic()
        folder, report = compare(command)
        print(table(report))
        print(f"in {time.monotonic() - began:.0f} s")
        rows = report["frechet_distance"]
        evaluations = sorted(command.evaluations)
        picture = ss.plotting.plot_curves(
            np.array(evaluations),
            {
                name: np.array([row[str(n)] for n in evaluations])
                for name, row in rows.items()
            },
            folder / "samplers.png",
            x_label="evaluations of the network",
            y_label="Frechet distance",
            logarithmic=True,
            title=f"{command.run}, {command.num} samples",
        )
        _cli.wrote(folder / "samplers.json", picture)
        _cli.next_commands(f"python -m experiments.evaluate {command.run} --help")


if __name__ == "__main__":
    main()

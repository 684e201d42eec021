"""Compare samplers on a model: `python -m experiments.samplers RUN`.

Draws samples with each sampler at several numbers of evaluations of the network, and
measures the Frechet distance to the training images in the features of the classifier.
All samplers start from the same draws of the prior. Each number is written as soon as
it is measured, so the same command goes on where it was stopped.
"""

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

import softsde as ss
from softsde._files import write_json

from . import _build, _cli, _run
from ._errors import CommandError, FolderError
from ._evaluation import Reference, Space, held_out, open_reference, open_space
from ._solvers import SolverConfig, make_solver

#: On the probability flow, on the paper's clock, and with churn, whose amount depends
#: on the number of steps.
SAMPLERS: dict[str, SolverConfig] = {
    "Momentum, flow": SolverConfig(solver="momentum", clock="ode"),
    "DDIM": SolverConfig(solver="ddim"),
    "Heun, flow": SolverConfig(solver="heun", clock="ode"),
    "Heun normalised, flow": SolverConfig(solver="heun_normalised", clock="ode"),
    "Multistep, flow": SolverConfig(solver="multistep", clock="ode"),
    "Momentum": SolverConfig(solver="momentum", clock="sde"),
    "Momentum, churn": SolverConfig(solver="momentum"),
    "Multistep, churn": SolverConfig(solver="multistep"),
    "Naive": SolverConfig(solver="naive"),
}


@dataclass(frozen=True)
class Samplers:
    """Compare samplers on a model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or the name of a model that comes with the package."""
    evaluations: tuple[int, ...] = (10, 20, 40, 80)
    """Evaluations of the network for each sample, not counting the last prediction."""
    num: int = 500
    """Number of samples for each distance."""
    reference: int = 60_000
    """Number of training images to compare with, at most."""
    seed: int = 0
    """Seed of the samples."""
    folder: Path | None = None
    """Where to write; by default `samplers/` in the run folder, or for a model that
    comes with the package in runs/shipped/RUN."""


def solver_config(name: str, evaluations: int) -> SolverConfig:
    """A sampler of the table, with as many steps as the evaluations allow."""
    chosen = SAMPLERS[name]
    assert chosen.solver is not None
    solver = make_solver(chosen.solver)
    steps = evaluations // solver.evaluations_per_step
    if solver.noise == "clock" and chosen.clock is None:
        # As much as steps can follow: see `softsde.clocks.Churn`.
        chosen = replace(chosen, churn=min(40.0, steps / 2))
    return replace(chosen, steps=steps)


def compare(command: Samplers) -> tuple[Path, dict[str, Any]]:
    """Measures the distances that are missing; returns the folder and the report."""
    for option, value in (("num", command.num), ("reference", command.reference)):
        if value < 10:
            raise CommandError(f"`--{option}` is {value}; expected at least 10.")
    if not command.evaluations or min(command.evaluations) < 2:
        raise CommandError(
            f"`--evaluations` is {command.evaluations}; expected numbers of at least 2."
        )
    model = _run.open_model(command.run)
    data = _run.data_of(model)
    space = open_space(None, data)
    source = _build.make_source(data)
    folder = command.folder or _run.output_folder(command.run) / "samplers"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "samplers.json"
    setting = {"num": command.num, "seed": command.seed, "space": space.name}
    report: dict[str, Any] = {**setting, "frechet_distance": {}}
    if path.exists():
        before = json.loads(path.read_text())
        if {name: before[name] for name in setting} != setting:
            raise FolderError(
                f"{path} was measured with other options. Choose another `--folder`."
            )
        report = before
    reference = None
    if "held_out" not in report:
        # The distance of real images, as a reference.
        reference = open_reference(source, command.reference, space)
        images, report["held_out_name"] = held_out(data, command.num, source)
        report["held_out"] = _distance(images, reference, space)
        write_json(path, report)
    for evaluations in sorted(command.evaluations):
        for name in SAMPLERS:
            row = report["frechet_distance"].setdefault(name, {})
            if str(evaluations) in row:
                continue
            reference = reference or open_reference(source, command.reference, space)
            options = solver_config(name, evaluations).options()
            with _cli.stage(f"{name} with {evaluations} evaluations"):
                images = model.sample(command.num, seed=command.seed, **options)
            row[str(evaluations)] = _distance(np.clip(images, 0, 1), reference, space)
            print(f"{name} with {evaluations} evaluations: {row[str(evaluations)]:.1f}")
            write_json(path, report)
    report["commit"] = _run.commit()
    write_json(path, report)
    return folder, report


def _distance(images: np.ndarray, reference: Reference, space: Space) -> float:
    statistics = ss.metrics.FeatureStatistics.of(space.features, images)
    measured = ss.metrics.measure_frechet(statistics, reference.statistics)
    return round(measured.value, 2)


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
    _cli.run(_main)


def _main() -> None:
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
    _cli.next_commands(_cli.command("experiments.evaluate", command.run))


if __name__ == "__main__":
    main()

"""Compare runs: `python -m experiments.compare RUN RUN ...`.

Writes one table of what `experiments.evaluate` has measured, one picture of the losses
over training, and one of samples side by side: a row for each run, always of the same
seed.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import jax
import matplotlib.figure
import numpy as np
import tyro

import softsde as ss
from softsde._files import atomically, write_json, write_text

from . import _cli, _run
from ._errors import CommandError, FolderError
from ._sweeps import CHECKPOINTS, SWEEP


@dataclass(frozen=True)
class Compare:
    """Compare runs."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folders, or names of models that come with the package; at least two."""
    num: int = 12
    """Samples of each run in the picture."""
    seed: int = 0
    """Seed of the samples."""
    folder: Path = Path("runs/compare")
    """Where to write."""


#: Entries of an evaluation that the table shows, and whether less is better.
_COLUMNS = {
    "frechet_distance": "Frechet distance",
    "precision": "precision",
    "recall": "recall",
    "sliced_wasserstein": "sliced Wasserstein",
}


def evaluations(run: str) -> list[dict[str, Any]]:
    """Reads the results of `experiments.evaluate` for a run, oldest first."""
    folder = _run.output_folder(run) / "evaluation"
    found = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
    reports = []
    for path in found:
        if path.name in (SWEEP, CHECKPOINTS):
            continue
        try:
            report = json.loads(path.read_text())
            if missing := {"space", "num"} - set(report):
                raise KeyError(*missing)
            float(report["samples"]["frechet_distance"])
        except (ValueError, KeyError, TypeError) as error:
            raise FolderError(
                f"{path} is no evaluation ({error}). Remove it, or measure again with "
                f"`python -m experiments.evaluate {run}`."
            ) from error
        reports.append(report | {"sampler_name": path.stem})
    return reports


def rows(runs: tuple[str, ...], models: dict[str, ss.Model]) -> list[dict[str, Any]]:
    """One row for each evaluation, and one for each run that has none."""
    table = []
    for run in runs:
        card = models[run].card
        what = {
            "run": run,
            "process": _process_name(models[run]),
            "steps": card.get("steps"),
            "parameters": card.get("parameters"),
        }
        measured = evaluations(run)
        for report in measured:
            numbers = {name: report["samples"].get(name) for name in _COLUMNS}
            table.append(
                what
                | {
                    "sampler": report["sampler_name"],
                    "samples": report["num"],
                    "space": report["space"],
                }
                | numbers
            )
        if not measured:
            table.append(what)
    return table


def _process_name(model: ss.Model) -> str:
    config = model.card.get("config")
    if isinstance(config, dict) and isinstance(config.get("process"), dict):
        name = config["process"].get("name")
        if isinstance(name, str):
            return name
    return type(model.process.corruption).__name__


def table(content: list[dict[str, Any]]) -> str:
    """The rows as a table, in Markdown."""
    names = ["run", "process", "steps", "sampler", "samples", *_COLUMNS]
    lines = [
        "| " + " | ".join(_COLUMNS.get(name, name) for name in names) + " |",
        "| --- " * len(names) + "|",
    ]
    for row in content:
        cells = [_cell(row.get(name)) for name in names]
        lines.append("| " + " | ".join(cells) + " |")
    spaces = {row["space"] for row in content if "space" in row}
    lines += ["", *(f"features: {space}" for space in sorted(spaces))]
    if len(spaces) > 1:
        lines.append("Numbers in different features cannot be compared.")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "not measured"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _curves(runs: tuple[str, ...], path: Path) -> Path | None:
    """The losses over training."""
    figure = matplotlib.figure.Figure(figsize=(7.0, 4.0), dpi=140)
    axes = figure.add_subplot()
    drawn = 0
    for run in runs:
        curve = Path(run) / "metrics.jsonl"
        if not curve.exists():
            continue
        lines = ss.train.read_metrics(curve)
        if len(lines) > 1:
            loss = np.array([line["loss"] for line in lines])
            axes.plot([line["step"] for line in lines], loss, label=run)
            drawn += 1
    if not drawn:
        return None
    axes.set(xlabel="step", ylabel="loss of the run", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomically(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight")
    return path


def compare(command: Compare) -> tuple[list[Path], str]:
    """Compares, and returns the paths written and the table."""
    if len(set(command.runs)) < 2:
        raise CommandError(
            f"There are {len(set(command.runs))} runs to compare; give two or more, as "
            "in `python -m experiments.compare runs/a runs/b`."
        )
    if command.num < 1:
        raise CommandError(f"`--num` is {command.num}; expected at least 1.")
    models = {run: _run.open_model(run) for run in command.runs}
    content = rows(command.runs, models)
    shapes = {run: _shape(model) for run, model in models.items()}
    pictures = []
    if len(set(shapes.values())) == 1:
        for run, model in models.items():
            sampler = _run.sampler_of(run)
            options = {} if sampler is None else sampler.options()
            with _cli.stage(f"Drawing {command.num} samples of {run}"):
                pictures.append(model.sample(command.num, seed=command.seed, **options))
    folder = command.folder
    text = table(content)
    write_text(folder / "comparison.md", text + "\n")
    write_json(folder / "comparison.json", content)
    paths = [folder / "comparison.md", folder / "comparison.json"]
    curves = _curves(command.runs, folder / "losses.png")
    if curves is not None:
        paths.append(curves)
    if pictures:
        scale, pad = _run.layout(pictures[0].shape[1:])
        paths.append(
            ss.plotting.save_grid(
                folder / "samples.png",
                np.concatenate(pictures),
                columns=command.num,
                scale=scale,
                pad=pad,
                title="a row each: " + "; ".join(command.runs),
            )
        )
    else:
        _cli.say("No picture of samples: the runs have images of different shapes.")
    return paths, text


def _shape(model: ss.Model) -> tuple[int, ...] | None:
    """The shape of a model's images, without drawing one."""
    prior = model.prior
    if prior is None:
        return None
    return jax.eval_shape(prior.sample, jax.random.key(0)).shape


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Compare, "experiments.compare", __doc__)
    paths, text = compare(command)
    print(text)
    _cli.wrote(*paths)
    missing = [run for run in command.runs if not evaluations(run)]
    _cli.next_commands(
        *(_cli.command("experiments.evaluate", run) for run in missing),
        _cli.command("experiments.sample", command.runs[0]),
    )


if __name__ == "__main__":
    main()

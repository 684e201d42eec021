"""From a run folder to a model that comes with the code."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from .. import _run

#: Larger weights do not belong into a repository.
MAX_BYTES = 8 * 2**20

_FILES = ("config.json", "levels.json", "prior.eqx", "model.eqx")


def export(run_folder: str | Path, name: str, into: Path | None = None) -> Path:
    """Copies the model of a run to where `load(name)` finds it, with a card.

    **Arguments:**

    - `run_folder`: of a run; its `evaluation/`, if there is one, goes into the card.
    - `name`: of the model.
    - `into`: another folder for models.

    **Returns:** the model's folder.

    **Raises:** `ValueError` for weights above 8 MB or a name that is no folder's;
    `FileNotFoundError` where there is no run, or no model in it yet.
    """
    folder = Path(run_folder)
    if not name.isidentifier():
        raise ValueError(f"{name!r} is no name for a model; use letters, digits and _.")
    model = _run.open_model(str(folder))
    size = (folder / "model.eqx").stat().st_size
    if size > MAX_BYTES:
        raise ValueError(
            f"{folder / 'model.eqx'} has {size / 2**20:.1f} MB; a model that comes "
            f"with the code may have {MAX_BYTES / 2**20:.0f}. Train a narrower network "
            "(`--network.base-channels`)."
        )
    target = (into or _run.PRETRAINED) / name
    target.mkdir(parents=True, exist_ok=True)
    for file in _FILES:
        shutil.copyfile(folder / file, target / file)
    card = model.card | {"config": dataclasses.asdict(model.config)}
    evaluation = folder / "evaluation" / "evaluation.json"
    if evaluation.exists():
        report = json.loads(evaluation.read_text())
        # The figures of other weights are not this model's.
        if report["model"]["steps"] == card["steps"]:
            card["evaluation"] = {k: v for k, v in report.items() if k != "model"}
    (target / "card.json").write_text(json.dumps(card, indent=1) + "\n")
    (target / "README.md").write_text(_describe(name, card))
    return target


def _describe(name: str, card: dict[str, Any]) -> str:
    config = card["config"]
    process, optimiser = config["process"], config["optimiser"]
    start = "new weights"
    if "initial" in card:
        first = card["initial"]
        start = (
            f"the weights of a run before: {first['steps']:,} steps, "
            f"{first['images_seen']:,} images, code {first['commit']}"
        )
    text = f"""\
# {name}

A UNet of {card["parameters"]:,} parameters, trained with Soft Score Matching.

| | |
| --- | --- |
| data | {card["data"]}, {card["num_images"]:,} training images of {card["shape"]} |
| process | blur to {process["max_blur"]} pixels, noise {process["sigma_min"]} to \
{process["sigma_max"]} |
| start | {start} |
| steps | {card["steps"]:,} of {config["training"]["batch_size"]} images: \
{card["images_seen"]:,} seen |
| optimiser | Adam, rate {optimiser["learning_rate"]} ({optimiser["schedule"]}), \
clipped at {optimiser["clip"]}, averaged with {optimiser["ema_decay"]} |
| loss | Soft Score Matching, weight {config["loss"]["weight"]} |
| code | {card["commit"]} |

    from experiments import pretrained
    images = pretrained.load("{name}").sample(64)

or `python -m experiments.sample {name}`.
"""
    if "evaluation" in card:
        report = card["evaluation"]
        sampler = report["sampler"]
        text += (
            f"\n{report['num']:,} samples ({sampler['solver']}, {sampler['steps']} "
            f"steps, churn {sampler['churn']:g}) against {report['reference']}; "
            f"features of {report['space']}.\n\n"
            f"| | samples | {report['held_out_name']} |\n| --- | --- | --- |\n"
        )
        for figure, value in report["samples"].items():
            real = report["held_out"][figure]
            text += f"| {figure.replace('_', ' ')} | {value:.4g} | {real:.4g} |\n"
    return text

"""Average the weights of a run otherwise: `python -m experiments.average RUN`.

The run was trained with `--optimiser.sigma-rel`, so it has stored averages now and
then. The average of any other length follows from them, as if it had been kept all the
time. Writes a model folder, which every command takes in the place of a run.

    python -m experiments.train digits_blur --optimiser.sigma-rel 0.05 0.1
    python -m experiments.average runs/digits_blur --sigma-rel 0.15
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import jax.numpy as jnp
import tyro

import softsde as ss

from . import _cli, _run
from ._errors import CommandError, FolderError


@dataclass(frozen=True)
class Average:
    """Average the weights of a run over another length."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder."""
    sigma_rel: float = 0.1
    """Length of the average, as a share of the steps made."""
    step: int | None = None
    """Step at which the average ends; by default the last that was stored."""
    folder: Path | None = None
    """Where to write; by default `averages/SIGMA_REL` in the run folder."""


def average(command: Average) -> list[Path]:
    """Averages, and returns the paths written."""
    model = _run.open_model(command.run)
    stored = ss.train.Snapshots(Path(command.run) / _run.AVERAGES)
    steps = stored.steps()
    if _run.is_shipped(command.run) or not steps:
        raise FolderError(
            f"{command.run} has no stored averages. Train a run with "
            "`--optimiser.sigma-rel 0.05 0.1`."
        )
    step = steps[-1] if command.step is None else command.step
    try:
        ss.train.power_exponent(command.sigma_rel)
    except ValueError as error:
        raise CommandError(f"`--sigma-rel`: {error}") from error
    if step not in steps:
        raise CommandError(
            f"`--step {step}`: stored are {', '.join(map(str, steps[:10]))}"
            f"{' ...' if len(steps) > 10 else ''}, up to {steps[-1]}."
        )
    try:
        denoiser = stored.reconstruct(model.denoiser, command.sigma_rel, step=step)
    except ValueError as error:
        raise FolderError(str(error)) from error
    # Averages are float32 at least; the model has its own dtypes.
    denoiser = jax.tree.map(
        lambda new, old: jnp.asarray(new, old.dtype) if hasattr(old, "dtype") else new,
        denoiser,
        model.denoiser,
    )
    card = {**model.card, "steps": step, "sigma_rel": command.sigma_rel}
    folder = command.folder or stored.folder / str(command.sigma_rel)
    ss.Model(denoiser, model.prior, card).save(folder)
    return [folder / "model.json", folder / "model.safetensors"]


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Average, "experiments.average", __doc__)
    with _cli.stage("Averaging"):
        paths = average(command)
    _cli.wrote(*paths)
    _cli.next_commands(
        _cli.command("experiments.sample", paths[0].parent),
        _cli.command("experiments.evaluate", paths[0].parent),
    )


if __name__ == "__main__":
    main()

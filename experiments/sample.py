"""Draw samples from a model: `python -m experiments.sample RUN`.

RUN is a run folder, such as runs/fashion_mnist_blur, or the name of a model that comes
with the package. Writes a picture of the samples, the samples themselves, and a picture
of four of them on their way from the prior to the image.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

import softsde as ss

from . import _cli, _run
from ._solvers import SolverConfig


@dataclass(frozen=True)
class Sample:
    """Draw samples from a model."""

    run: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or the name of a model that comes with the package."""
    num: int = 64
    """Number of images."""
    sampler: Annotated[SolverConfig, tyro.conf.arg(name="")] = field(
        default_factory=SolverConfig
    )
    seed: int = 0
    """Each seed draws other images."""
    folder: Path | None = None
    """Where to write; by default `drawn/` in the run folder, or for a model that comes
    with the package in runs/shipped/RUN."""


def sample(command: Sample) -> list[Path]:
    """Draws, and returns the paths written."""
    if command.num < 1:
        raise ValueError(f"`--num` is {command.num}; expected at least 1.")
    model = _run.open_model(command.run)
    folder = command.folder or _run.output_folder(command.run) / "drawn"
    folder.mkdir(parents=True, exist_ok=True)
    sampler = command.sampler.completed(_run.sampler_of(command.run))
    options = sampler.options()
    images = model.sample(command.num, seed=command.seed, **options)

    # The first samples again, now with all states on the way.
    way = ss.sample(
        model.denoiser,
        prior=model.prior,
        num_samples=min(4, command.num),
        save_trajectory=True,
        key=jax.random.key(command.seed),
        **options,
    )
    assert way.trajectory is not None and way.predictions is not None
    rows = np.stack([way.trajectory, way.predictions], axis=1)

    stem = f"{sampler.label}_seed{command.seed}"
    scale, pad = _run.layout(images.shape[1:])
    picture = ss.plotting.save_grid(
        folder / f"{stem}.png",
        images[:256],
        columns=8 if command.num <= 64 else 16,
        scale=scale,
        pad=pad,
        title=f"{command.num} samples, {sampler.label}, uncurated",
    )
    strip = ss.plotting.save_png(
        folder / f"{stem}_way.png",
        ss.plotting.trajectory_strip(
            rows.reshape(-1, *rows.shape[2:]), frames=12, scale=scale, pad=pad
        ),
        title="from prior to sample: the state, and below it the prediction",
    )
    np.savez_compressed(folder / f"{stem}.npz", images=images)
    return [picture, strip, folder / f"{stem}.npz"]


def main() -> None:
    with _cli.plain_errors():
        command = _cli.parse(Sample, "experiments.sample", __doc__)
        _cli.wrote(*sample(command))
        _cli.next_commands(
            f"python -m experiments.sample {command.run} --seed {command.seed + 1}",
            f"python -m experiments.evaluate {command.run}",
        )


if __name__ == "__main__":
    main()

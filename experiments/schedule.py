"""Compute a level schedule from data: `python -m experiments.schedule mnist_blur`.

Writes the blur over time as JSON, which training of the same experiment would choose,
and draws it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import numpy as np
import tyro

import softsde as ss

from . import _build, _cli
from ._config import PRESETS, Config


@dataclass(frozen=True)
class Schedule:
    """Compute and draw the levels of an experiment."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    folder: Path
    """Where to write."""


def schedule(config: Config, folder: Path) -> list[Path]:
    """Computes, and gives the paths written."""
    source = _build.make_source(config.data)
    levels = _build.make_levels(config.process, source)
    geometric = _build.make_process(config.process, source.shape).levels
    folder.mkdir(parents=True, exist_ok=True)
    levels.save(folder / "levels.json")

    times = np.linspace(0, 1, 200, dtype=np.float32)
    picture = ss.plotting.plot_curves(
        times,
        {
            name: np.asarray(jax.vmap(curve)(times))
            for curve, name in (
                (geometric, "geometric"),
                (levels, config.process.levels),
            )
        },
        folder / "levels.png",
        y_label="blur, pixels",
        logarithmic=True,
        title=config.data.source,
    )
    return [folder / "levels.json", picture]


def main() -> None:
    with _cli.plain_errors():
        defaults = {
            name: Schedule(preset.config, Path("runs") / f"schedule_{name}")
            for name, preset in PRESETS.items()
        }
        command = _cli.parse_preset(defaults, "experiments.schedule", __doc__)
        _cli.wrote(*schedule(command.config, command.folder))
        _cli.next_commands("python -m experiments.train NAME")


if __name__ == "__main__":
    main()

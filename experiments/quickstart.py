"""Train, sample and measure in two minutes: `python -m experiments.quickstart`.

Trains a soft-blur model of the 8x8 digits that come with scikit-learn, draws samples,
measures them, and writes pictures. Needs no network and no accelerator.
"""

import dataclasses
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from . import _cli, classifier, evaluate, sample, train
from ._errors import CommandError
from ._presets import PRESETS


@dataclass(frozen=True)
class Quickstart:
    """Train, sample and evaluate on digits."""

    folder: Path = Path("runs/quickstart")
    """Where to write. If it holds a run, that run is resumed, and what was measured
    is read."""
    steps: int = 400
    """Training steps. More are better and take longer."""
    num: int = 500
    """Number of samples to measure."""
    again: bool = False
    """Start over, also if the folder holds a run."""


def quickstart(command: Quickstart) -> list[Path]:
    """Runs all four parts, and returns the files to look at."""
    for option, value, least in (("steps", command.steps, 1), ("num", command.num, 10)):
        if value < least:
            raise CommandError(f"`--{option}` is {value}; expected at least {least}.")
    if command.again and (command.folder / "config.json").exists():
        shutil.rmtree(command.folder)
    config = PRESETS["digits_blur"].config
    # Half the time of a step; that the samples are a little worse hardly shows.
    options = {**config.network.options, "base_channels": 24}
    config = dataclasses.replace(
        config,
        network=dataclasses.replace(config.network, options=options),
        training=dataclasses.replace(
            config.training, steps=command.steps, sample_every=command.steps
        ),
        optimiser=dataclasses.replace(
            config.optimiser, warmup_steps=command.steps // 10
        ),
    )
    print("1/4 Training a model of digits under blur and noise")
    words = _cli.command("experiments.quickstart", "--folder", command.folder)
    train.train(config, command.folder, command=words)
    print("2/4 Training a classifier, to measure the model with")
    judge, _ = classifier.train(
        classifier.Train("digits", folder=command.folder / "classifier", epochs=14.0)
    )
    print("3/4 Drawing samples")
    run = str(command.folder)
    pictures = sample.sample_once(sample.Sample(run))
    print("4/4 Measuring them")
    measured, report = evaluate.evaluate_once(
        evaluate.Evaluate(run, num=command.num, classifier=str(judge))
    )
    print(evaluate.table(report))
    return [*pictures, *measured]


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    began = time.monotonic()
    command = _cli.parse(Quickstart, "experiments.quickstart", __doc__)
    paths = quickstart(command)
    print(f"\n{time.monotonic() - began:.0f} s in all.")
    _cli.wrote(*paths)
    _cli.next_commands(
        _cli.command("experiments.sample", command.folder, "--steps", 30),
        _cli.command("experiments.train", "digits_blur", "--process", "ve"),
    )


if __name__ == "__main__":
    main()

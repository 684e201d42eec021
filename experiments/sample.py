"""Draw samples from a model: `python -m experiments.sample RUN`.

RUN is a run folder, such as runs/digits_blur, or the name of a model that comes with
the package. Writes a picture of the samples, the samples themselves, a picture of four
of them on their way from the prior to the image, and what they were drawn with.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import diffrax
import jax.numpy as jnp
import numpy as np
import tyro

import softsde as ss
from softsde._files import atomically, write_json

from . import _cli, _pictures, _run
from ._config import to_dict
from ._errors import CommandError
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
    adaptive: float | None = None
    """Tolerance of steps that adapt, such as 0.001. The solver must estimate its error:
    `heun_normalised`, which is then the default."""
    labels: tuple[str, ...] = ()
    """Classes to draw, by name or number, each in turn; for models that were trained
    with `--condition.labels`."""
    guidance: float | None = None
    """Strength of classifier-free guidance towards the classes; 1 is none."""
    pngs: bool = False
    """Also write each image as a PNG of its own, clipped to [0, 1]."""
    clip: bool = False
    """Clip the images of the .npz file to [0, 1], instead of keeping them as drawn."""
    batch_size: int = 256
    """Number of images drawn at once."""
    seed: int = 0
    """Each seed draws other images."""
    bar: bool = False
    """Show a bar over the steps of the sampler. Such a program is compiled anew by each
    start of the command."""
    folder: Path | None = None
    """Where to write; by default `drawn/` in the run folder, or for a model that comes
    with the package in runs/shipped/RUN."""


def conditions(model: ss.Model, words: tuple[str, ...], num: int) -> Any:
    """The class of each sample, by the names or numbers given.

    **Raises:** `CommandError` for a class that the model does not know.
    """
    count = model.card.get("num_classes")
    names = model.card.get("class_names") or []
    if not isinstance(count, int):
        if words:
            raise CommandError(
                "`--labels`: this model was trained without classes. Train one with "
                "`--condition.labels`, or leave `--labels` out."
            )
        return None
    numbers = []
    for word in words:
        if word in names:
            numbers.append(names.index(word))
        elif word.isdigit() and int(word) < count:
            numbers.append(int(word))
        else:
            known = f", or {', '.join(names)}" if names else ""
            raise CommandError(
                f"`--labels {word}`: there is no such class. Give numbers from 0 to "
                f"{count - 1}{known}."
            )
    if not numbers:
        return None
    return jnp.asarray(np.resize(numbers, num), jnp.int32)


def sampler_options(command: Sample, sampler: SolverConfig) -> dict[str, Any]:
    """The arguments of [`softsde.sample`][]."""
    options = sampler.options()
    if command.adaptive is None:
        return options
    if not command.adaptive > 0:
        raise CommandError(
            f"`--adaptive` is {command.adaptive}; expected a tolerance above 0."
        )
    if command.sampler.solver is None:
        options["solver"] = ss.Heun("normalised")
        options.pop("clock", None)
    options["times"] = diffrax.PIDController(
        rtol=command.adaptive, atol=command.adaptive
    )
    return options


@dataclass(frozen=True)
class _Drawing:
    """A command that was checked: its model, its sampler, and where it writes."""

    command: Sample
    model: ss.Model
    sampler: SolverConfig
    folder: Path

    @staticmethod
    def of(command: Sample) -> "_Drawing":
        for option, value in (("num", command.num), ("batch-size", command.batch_size)):
            if value < 1:
                raise CommandError(f"`--{option}` is {value}; expected at least 1.")
        folder = command.folder or _run.output_folder(command.run) / "drawn"
        sampler = command.sampler.completed(_run.sampler_of(command.run))
        return _Drawing(command, _run.open_model(command.run), sampler, folder)

    def file(self, end: str) -> Path:
        return self.folder / f"{_stem(self.command, self.sampler)}{end}"

    def record(self) -> dict[str, Any]:
        """The model and all options, as they are written beside the samples."""
        options = to_dict(dataclasses.replace(self.command, folder=None, bar=False))
        sampler = dataclasses.asdict(self.sampler)
        found = {"model": self.model.card, "options": {**options, "sampler": sampler}}
        return json.loads(json.dumps(found, default=str))


def sample_once(command: Sample) -> list[Path]:
    """Draws, or names what the same model with the same options has drawn before."""
    drawing = _Drawing.of(command)
    paths = [drawing.file(end) for end in (".png", "_way.png", ".npz", ".json")]
    try:
        found = json.loads(paths[-1].read_text())
    except (OSError, ValueError):
        found = None
    if found != drawing.record() or not all(path.exists() for path in paths):
        return _sample(drawing)
    _cli.say(f"{paths[0]} is there: it is of the same model and options.")
    return paths


def sample(command: Sample) -> list[Path]:
    """Draws, and returns the paths written."""
    return _sample(_Drawing.of(command))


def _sample(drawing: _Drawing) -> list[Path]:
    command = drawing.command
    model, sampler, file = drawing.model, drawing.sampler, drawing.file
    options = sampler_options(command, sampler)
    condition = conditions(model, command.labels, command.num)
    if command.guidance is not None:
        if condition is None:
            raise CommandError(
                "`--guidance` strengthens classes: give them with `--labels`."
            )
        guided = ss.guidance.ClassifierFree(model.denoiser, command.guidance)
        model = ss.Model(guided, model.prior, model.card)
    try:
        with _cli.stage(f"Drawing {command.num:,} samples, {sampler.label}"):
            images, way = _pictures.draw(
                model,
                command.num,
                options,
                seed=command.seed,
                condition=condition,
                batch_size=command.batch_size,
                bar=command.bar,
            )
    except (ValueError, TypeError) as error:
        raise CommandError(f"`--solver {sampler.label}`: {error}") from error

    title = f"{command.num} samples, {sampler.label}, uncurated"
    paths = _pictures.save(file(".png"), images, way, title)
    arrays: dict[str, Any] = {
        "images": np.clip(images, 0, 1) if command.clip else images
    }
    if condition is not None:
        arrays["labels"] = np.asarray(condition)
    with atomically(file(".npz")) as temporary:
        np.savez_compressed(temporary, **arrays)
    paths.append(file(".npz"))
    if command.pngs:
        for i, image in enumerate(images):
            ss.plotting.save_png(
                file("") / f"{i:06d}.png",
                ss.plotting.image_grid(image[None], pad=0),
            )
        paths.append(file(""))
    # Written last: where it is, the others are whole.
    write_json(file(".json"), drawing.record())
    return [*paths, file(".json")]


def _stem(command: Sample, sampler: SolverConfig) -> str:
    parts = [sampler.label]
    if command.adaptive is not None:
        parts.append(f"adaptive{command.adaptive:g}")
    if command.labels:
        parts.append("classes_" + "_".join(command.labels).replace("/", "-"))
    if command.guidance is not None:
        parts.append(f"guidance{command.guidance:g}")
    return "_".join([*parts, f"seed{command.seed}"])


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Sample, "experiments.sample", __doc__)
    _cli.wrote(*sample(command))
    again = dataclasses.replace(command, seed=command.seed + 1)
    _cli.next_commands(
        _cli.command("experiments.sample", command.run, "--seed", again.seed),
        _cli.command("experiments.evaluate", command.run),
    )


if __name__ == "__main__":
    main()

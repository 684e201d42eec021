"""Choose a level schedule from data: `python -m experiments.schedule --data mnist`.

Corrupts images at many candidate levels, and picks levels between which their
distribution moves by equal 2-Wasserstein distances (the paper's Section 3.3). Writes
the schedule as JSON, which `softsde.schedules.load` reads, and the distances. Draws the
distances, the level and the noise over time, and corrupted images.

    python -m experiments.schedule --data fashion_mnist
    python -m experiments.schedule --data digits --corruption soft_mask
    python -m experiments.schedule --data pictures/ --size 64 --last-level 23

`--levels-out FILE` also writes the levels where you say. A model is trained with them
by `python -m experiments.train EXPERIMENT --process.levels FILE`.
"""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

import softsde as ss
from softsde._files import atomically

from . import _cli, _corruptions, _images
from ._errors import CommandError
from ._images import ImagesConfig
from ._presets import PRESETS
from ._solvers import file_name


@dataclass(frozen=True)
class Schedule:
    """Choose a level schedule from data."""

    data: str
    """A name, such as `mnist`, or your own images: a .npy or .npz file or a folder."""
    corruption: str = "gaussian_blur"
    """The family of operators: any of `softsde.corruptions`, also with options,
    'GaussianBlur(half_size=8)', composed, 'Compose(GaussianBlur, Fade)', or your own as
    `module:name`."""
    size: int | None = None
    """Side in pixels to which the pictures of a folder are resized."""
    levels_out: Path | None = None
    """Also write the levels to this .json file."""
    images: int = 3000
    """Number of images to compare, spread evenly over the data."""
    num_levels: int = 256
    """Number of candidate levels."""
    num_points: int = 32
    """Number of levels that the schedule keeps, the first and the last included."""
    metric: Literal["brenier", "sinkhorn"] = "brenier"
    """The closed form, in seconds, or the paper's regularised distances, in hours."""
    first_level: float | None = None
    """The first level; by default no corruption, 0.01 pixels for blurs."""
    last_level: float | None = None
    """The last level; by default full corruption, for blurs 9/16 of the side (the
    paper's 18 at 32)."""
    sigma_min: float = 0.01
    """Noise of clean images; images are in [0, 1]."""
    sigma_max: float = 0.1
    """Noise after `noise_fraction` of the time."""
    noise_fraction: float = 0.2
    """Share of the time in which the noise grows, before the level begins to move."""
    folder: Path | None = None
    """Where to write; by default `runs/schedule_DATA_CORRUPTION`."""

    def words(self) -> str:
        """The command with these options."""
        words = ["python", "-m", "experiments.schedule"]
        for name, default in (
            ("data", None),
            ("corruption", "gaussian_blur"),
            ("size", None),
            ("images", 3000),
            ("num_levels", 256),
            ("num_points", 32),
            ("metric", "brenier"),
            ("levels_out", None),
            ("first_level", None),
            ("last_level", None),
            ("noise_fraction", 0.2),
        ):
            value = getattr(self, name)
            if value != default:
                words += [f"--{name.replace('_', '-')}", shlex.quote(str(value))]
        return " ".join(words)


def schedule(command: Schedule) -> list[Path]:
    """Computes, and returns the paths written."""
    _check(command)
    source = _images.load(command.data, ImagesConfig(size=command.size))
    corruption = _corruptions.make(command.corruption, source.shape)
    levels = _corruptions.candidates(
        corruption,
        source.shape,
        command.num_levels,
        first=command.first_level,
        last=command.last_level,
    )
    images = ss.data.to_array(source, limit=command.images)
    print(
        f"{len(images):,} images of {source.shape} at {levels.size} levels from "
        f"{levels[0]:g} to {levels[-1]:g} ...",
        flush=True,
    )
    began = time.perf_counter()
    with _cli.stage("Measuring distances"):
        found = ss.fitting.transport_schedule(
            corruption,
            levels,
            images,
            num_points=command.num_points,
            metric=command.metric,
            start=command.noise_fraction,
            key=jax.random.key(0),
        )
    seconds = time.perf_counter() - began
    print(
        f"{command.num_points} points, steps of {found.steps.mean():.4g} on average "
        f"and {found.epsilon:.4g} at most ({found.kind}), in {seconds:.1f} s"
    )

    folder = command.folder or Path("runs") / _default_name(command)
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "levels.json", folder / "distances.npz"]
    found.schedule.save(
        paths[0], provenance=_provenance(command, corruption, source, images, found)
    )
    if command.levels_out is not None:
        paths.insert(0, command.levels_out)
        command.levels_out.parent.mkdir(parents=True, exist_ok=True)
        found.schedule.save(
            paths[0], provenance=_provenance(command, corruption, source, images, found)
        )
    with atomically(folder / "distances.npz") as file:
        np.savez(
            file, levels=levels, distances=found.distances, path=np.array(found.path)
        )
    noise = ss.schedules.TwoPhase(
        command.sigma_min, command.sigma_max, command.noise_fraction
    )
    return paths + _pictures(command, corruption, images, found, noise, folder)


def _default_name(command: Schedule) -> str:
    return f"schedule_{_images.data_name(command.data)}_{file_name(command.corruption)}"


def _check(command: Schedule) -> None:
    for option, value, least in (
        ("images", command.images, 2),
        ("num-levels", command.num_levels, 2),
        ("num-points", command.num_points, 2),
    ):
        if value < least:
            raise CommandError(f"`--{option}` is {value}; expected at least {least}.")
    if command.num_points > command.num_levels:
        raise CommandError(
            f"`--num-points` is {command.num_points}; expected at most the "
            f"{command.num_levels} candidates of `--num-levels`."
        )
    if not 0 <= command.noise_fraction < 1:
        raise CommandError(
            f"`--noise-fraction` is {command.noise_fraction}; expected a share from 0 "
            "up to, not including, 1."
        )
    if not 0 < command.sigma_min <= command.sigma_max:
        raise CommandError(
            f"`--sigma-min` {command.sigma_min} and `--sigma-max` {command.sigma_max}: "
            "expected noise above 0 that grows."
        )
    if command.levels_out is not None and command.levels_out.suffix != ".json":
        raise CommandError(f"`--levels-out {command.levels_out}` should end in .json.")


def _provenance(command, corruption, source, images, found) -> dict[str, Any]:
    """Describes how the schedule was made. It names no path but those typed."""
    return {
        "data": command.data,
        "split": "train",
        "images": len(images),
        "of": len(source),
        "shape": list(source.shape),
        "corruption": repr(corruption),
        "candidates": [float(found.levels[0]), float(found.levels[-1])],
        "num_candidates": found.levels.size,
        "num_points": command.num_points,
        "metric": command.metric,
        "kind": found.kind,
        "epsilon": found.epsilon,
        "length": found.length,
        "start": command.noise_fraction,
        "command": command.words(),
        "softsde": ss.__version__,
    }


def _pictures(command, corruption, images, found, noise, folder) -> list[Path]:
    times = np.linspace(0, 1, 200, dtype=np.float32)
    title = f"{command.data}, {command.corruption}"
    if found.levels[0] > 0:
        other = np.geomspace(found.levels[0], found.levels[-1], command.num_points)
        name = "geometric"
    else:
        other = np.linspace(found.levels[0], found.levels[-1], command.num_points)
        name = "uniform"
    baseline = ss.schedules.PiecewiseLinear(
        np.linspace(command.noise_fraction, 1.0, command.num_points), other
    )
    read = lambda curve: np.asarray(jax.vmap(curve)(times))
    chosen = found.levels[list(found.path)]
    shown = chosen[np.linspace(0, len(chosen) - 1, 8).round().astype(int)]
    corrupted = jax.vmap(
        lambda x: jax.vmap(lambda theta: corruption.apply(theta, x))(np.float32(shown))
    )(images[:: max(1, len(images) // 4)][:4])
    return [
        ss.plotting.plot_distances(
            found.distances,
            found.levels,
            found.path,
            folder / "distances.png",
            title=title,
        ),
        ss.plotting.plot_curves(
            times,
            {"transport": read(found.schedule), name: read(baseline)},
            folder / "levels.png",
            y_label="level",
            logarithmic=name == "geometric",
            title=title,
        ),
        ss.plotting.plot_curves(
            times,
            {"noise": read(noise)},
            folder / "noise.png",
            y_label="standard deviation",
            logarithmic=True,
            title=title,
        ),
        ss.plotting.plot_levels(
            np.asarray(corrupted), shown, folder / "images.png", title=title
        ),
    ]


def next_training(command: Schedule, levels: Path) -> str:
    """The command that trains with the levels."""
    experiment = next(
        (n for n, p in PRESETS.items() if p.config.data.source == command.data), None
    )
    words: list[object] = [experiment or "images"]
    if experiment is None:
        words += ["--data.source", command.data]
        words += ImagesConfig(size=command.size).words("--data.")
    name = _corruptions.make_name(command.corruption)
    if name == "GaussianBlur":
        words += ["--process", "soft_blur", "--process.levels", levels]
    else:
        noise = (
            f"TwoPhase({command.sigma_min}, {command.sigma_max}, "
            f"{command.noise_fraction})"
        )
        words += ["--process", "Process", "--process.corruption", command.corruption]
        words += ["--process.levels", levels, "--process.noise", noise]
    words += ["--folder", f"runs/{_default_name(command)}_model"]
    return _cli.command("experiments.train", *words)


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Schedule, "experiments.schedule", __doc__)
    paths = schedule(command)
    _cli.wrote(*paths)
    _cli.next_commands(next_training(command, paths[0]))


if __name__ == "__main__":
    main()

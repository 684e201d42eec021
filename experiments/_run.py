"""A run folder: what training writes into it, and how other commands read it."""

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

import softsde as ss
from softsde._files import write_json, write_text

from . import _build
from ._config import DEFAULT, Config, DataConfig, from_dict
from ._differences import differences, plain
from ._errors import CommandError, FolderError
from ._images import ImagesConfig
from ._solvers import SolverConfig
from ._spec import Spec

_README = """\
# {name}

A run of `python -m experiments.train`. This folder is also a model:
`softsde.load("{folder}")`. It was made by

    {command}

and goes on where it stopped by `python -m experiments.train --resume {folder}`.

| file | content |
| --- | --- |
| `config.json` | all options of the experiment |
| `commands.txt` | the command of each session |
| `process.json` | the process, with the schedule that was chosen from the data |
| `network.json` | the network by name and options, also if it was chosen for the data |
| `metrics.jsonl` | one line every few steps: loss, gradient norm, learning rate |
| `loss.png` | the same as a picture |
| `samples/step_*.png` | uncurated samples of one seed, and four on their way |
| `model.json` | the model: its process, network and card (steps, images seen, commit) |
| `model.safetensors` | its arrays: the averaged weights and the prior |
| `checkpoints/` | the state of the training |
{more}
Draw more samples: `python -m experiments.sample {folder}`
Measure them: `python -m experiments.evaluate {folder}`
"""

#: What a start writes before the first step.
_AT_START = (
    "config.json",
    "commands.txt",
    "process.json",
    "network.json",
    "README.md",
    "mirror.json",
)


@contextlib.contextmanager
def claim(folder: Path) -> Iterator[None]:
    """Holds the lock of a run folder, which is made if absent.

    If the block fails before anything was trained, what it made is removed.

    **Raises:** `FolderError` if another command has the folder, if it holds something
    else than a run, or if it cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder} is a file. Choose a folder with `--folder`.")
    known = (folder / "config.json").exists()
    if folder.is_dir() and not known:
        if any(path.name != ".lock" for path in folder.iterdir()):
            raise FolderError(
                f"{folder} is not empty and holds no run (no config.json). Choose "
                "another with `--folder`."
            )
    made = not folder.exists()
    try:
        held = ss.train.lock(folder)
    except RuntimeError:
        raise FolderError(
            f"{folder} is in use: another command trains there. Wait for it, stop it, "
            "or choose another `--folder`."
        ) from None
    except ValueError as error:
        raise FolderError(f"`--folder {folder}`: {error}") from None
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be written to ({error}). Choose another `--folder`."
        ) from error
    try:
        yield
    except BaseException:
        if not has_trained(folder):
            _clear(folder, made)
        raise
    finally:
        if held is not None:
            held.close()


def _clear(folder: Path, made: bool) -> None:
    """Removes what a failed start has written."""
    if jax.process_index() != 0:
        return
    for name in _AT_START:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    shutil.rmtree(folder / TRIAL, ignore_errors=True)
    curve = folder / "metrics.jsonl"
    if curve.exists() and curve.stat().st_size == 0:
        curve.unlink()
    (folder / ".lock").unlink(missing_ok=True)
    if made and not any(folder.iterdir()):
        folder.rmdir()


#: The folder in the run folder of the averages of `--optimiser.sigma-rel`.
AVERAGES = "averages"

#: A folder in the run folder, for the trial of what comes later.
TRIAL = ".trial"


def has_trained(folder: Path) -> bool:
    """Tells whether a folder has traces of training."""
    curve = folder / "metrics.jsonl"
    return (
        (folder / "model.json").exists()
        or (curve.exists() and curve.stat().st_size > 0)
        or any((folder / "samples").glob("step_*"))
        or _has_checkpoints(folder)
    )


def steps_of(folder: Path) -> int | None:
    """The steps that the model of a run was trained for; `None` if nothing says it."""
    try:
        steps = ss.models.read_card(folder).get("steps")
    except (OSError, ValueError):
        return None
    return steps if isinstance(steps, int) else None


def _has_checkpoints(folder: Path) -> bool:
    return any(path.name.isdigit() for path in (folder / "checkpoints").glob("*"))


def has_lost(folder: Path) -> bool:
    """Tells whether a run has been trained, and its checkpoints are gone.

    A run that was killed before its first checkpoint has lost nothing: it has no model
    either, since a checkpoint is written before each.
    """
    if _has_checkpoints(folder) or not has_trained(folder):
        return False
    killed_early = (folder / "checkpoints" / ".lock").exists()
    results = (folder / "model.json").exists() or (folder / "samples").exists()
    return results or not killed_early


def read_config(folder: Path) -> Config:
    """The config of a run.

    **Raises:** `FolderError` if the folder holds none, or a damaged one.
    """
    path = folder / "config.json"
    if not path.exists():
        state = "holds no run (no config.json)" if folder.exists() else "does not exist"
        runs = sorted(str(found.parent) for found in Path("runs").glob("*/config.json"))
        raise FolderError(
            f"{folder} {state}. Runs here: {', '.join(runs) or 'none'}. Start one with "
            "`python -m experiments.train digits_blur`."
        )
    try:
        return Config.load(path)
    except (ValueError, OSError) as error:
        raise FolderError(
            f"{error}. Restore the file from a copy; the model itself is still read "
            f'by `softsde.load("{folder}")`.'
        ) from error


def check(folder: Path, config: Config, *, from_weights: bool = False) -> bool:
    """Tells whether the folder holds a run to go on with, of the same config.

    **Raises:** `FolderError` for a run of another config, or one whose checkpoints are
    gone, unless it is to go on from its weights.
    """
    trained = has_trained(folder) and (folder / "config.json").exists()
    lost = trained and has_lost(folder)
    if trained:
        old = read_config(folder)
        if plain(old.identity()) != plain(config.identity()):
            raise FolderError(_other_config(folder, old, config))
    if lost and not from_weights:
        raise FolderError(
            f"{folder} holds a trained model, but {folder / 'checkpoints'} is missing "
            "or empty, so training cannot go on, and starting over would overwrite the "
            f"model. Copy the checkpoints back; or go on from the weights alone with "
            f"`python -m experiments.train --resume {folder} --from-weights`; or start "
            f"a new run with another `--folder` and `--training.initial {folder}`."
        )
    if from_weights and not lost:
        raise CommandError(
            f"`--from-weights`: {folder} has its checkpoints, or was never trained. "
            "Leave the option out."
        )
    return trained


def start(
    folder: Path, config: Config, process: ss.Process, network: Spec, command: str
) -> None:
    """Writes what a run folder has before its first step, on the first host."""
    if jax.process_index() != 0:
        return
    config.save(folder / "config.json")
    content = ss.models.to_json(process)
    write_json(folder / "process.json", content)
    write_json(folder / "network.json", network.to_json())
    more = f"| `{AVERAGES}/` | stored averages, for `experiments.average` |\n"
    more = more if config.optimiser.sigma_rel else ""
    text = _README.format(name=folder.name, folder=folder, command=command, more=more)
    write_text(folder / "README.md", text)


def record(folder: Path, command: str) -> None:
    """Notes the command of a session, on the first host."""
    if jax.process_index() != 0:
        return
    with open(folder / "commands.txt", "a") as file:
        file.write(command + "\n")


def read_process(folder: Path, config: Config) -> ss.Process:
    """The process of a run, as it was before the first step.

    **Raises:** `FolderError` for a file that is missing or damaged.
    """
    path = folder / "process.json"
    try:
        content = json.loads(path.read_text())
        return ss.models.from_json(content, classes=_build.own(config))
    except (OSError, ValueError) as error:
        if (folder / "model.json").exists():
            return ss.load(folder, classes=_build.own(config)).process
        raise FolderError(
            f"{path} cannot be read ({error}). Restore it from a copy."
        ) from error


def read_network(folder: Path, config: Config, shape: tuple[int, ...]) -> Spec:
    """The network of a run, as it was chosen before the first step.

    **Raises:** `FolderError` for a damaged file.
    """
    if config.network != DEFAULT:
        return config.network
    path = folder / "network.json"
    if not path.exists():
        # A run from before this was kept. Its network was not told the positions.
        return _build.network_for(shape, positions=False)
    try:
        return Spec.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise FolderError(
            f"{path} cannot be read ({error}). Restore it from a copy."
        ) from error


def _other_config(folder: Path, old: Config, new: Config) -> str:
    changed = differences(plain(old.identity()), plain(new.identity()), "--")
    return (
        f"{folder} holds a run of another config:\n{changed}\n"
        "These cannot change within a run; steps, learning rate and sampling can. "
        f"Go on as it was with `python -m experiments.train --resume {folder}`, or "
        "choose another `--folder`."
    )


def is_shipped(run: str) -> bool:
    """Tells whether `run` is the name of a model that comes with the package."""
    return run in ss.models.names()


def open_model(run: str) -> ss.Model:
    """The model of a name or a folder.

    **Raises:** `FolderError` if there is none, if a run has no model yet, or if its
    files are damaged.
    """
    folder = Path(run)
    if is_shipped(run) or (folder / "model.json").exists():
        classes = []
        if not is_shipped(run) and (folder / "config.json").exists():
            with contextlib.suppress(FolderError):
                classes = _build.own(read_config(folder))
        try:
            return ss.load(run, classes=classes)
        except (ValueError, OSError) as error:
            raise FolderError(str(error)) from error
    if (folder / "config.json").exists():
        every = read_config(folder).training.sample_every
        raise FolderError(
            f"{folder} has no model yet: the first is written after {every} steps. "
            f"Train on with `python -m experiments.train --resume {folder}`, or lower "
            "`--training.sample-every`."
        )
    runs = sorted(str(path.parent) for path in Path("runs").glob("*/model.json"))
    state = "holds no model (no model.json)" if folder.is_dir() else "does not exist"
    raise FolderError(
        f"{folder} {state}. Models here: {', '.join(runs) or 'none'}. Models that come "
        f"with the package: {', '.join(ss.models.names())}. Train one with "
        "`python -m experiments.train digits_blur`."
    )


def data_of(model: ss.Model) -> DataConfig:
    """The data that a model was trained on, by its card.

    **Raises:** `FolderError` for a card that does not name any.
    """
    data, size = model.card.get("data"), model.card.get("size")
    if not isinstance(data, str):
        raise FolderError(
            "The card of this model does not name the data to compare with. Save the "
            'model with a card that does: `ss.Model(denoiser, prior, {"data": '
            '"mnist"})`, with a name or a path, and for a folder of pictures also '
            '`"size"`.'
        )
    content = model.card.get("config")
    if isinstance(content, dict) and isinstance(content.get("data"), dict):
        with contextlib.suppress(ValueError, TypeError):
            return from_dict(DataConfig, content["data"])
    return DataConfig(data, ImagesConfig(size=size))


def sampler_of(run: str) -> SolverConfig | None:
    """The sampler that the config of a run folder asks for; `None` without a config."""
    path = Path(run) / "config.json"
    if is_shipped(run) or not path.exists():
        return None
    return read_config(Path(run)).sampling.sampler


def runs_on(source: str) -> list[str]:
    """The runs here that were trained on some data."""
    found = []
    for path in sorted(Path("runs").glob("*/model.json")):
        with contextlib.suppress(ValueError, OSError):
            if ss.models.read_card(path.parent).get("data") == source:
                found.append(str(path.parent))
    return found


def output_folder(run: str) -> Path:
    """The folder that commands write to by default.

    It is the folder of the model. A model that comes with the package has another one,
    which no run of the same name uses.
    """
    return Path("runs") / "shipped" / run if is_shipped(run) else Path(run)


def layout(shape: tuple[int, ...]) -> tuple[int, int]:
    """`scale` and `pad` of a picture of many images: small ones are enlarged."""
    scale = max(1, 56 // shape[0])
    return scale, max(1, scale // 2)


def count_parameters(network: Any) -> int:
    """Counts the numbers that are trained, of a network with weights or with shapes."""
    leaves = (leaf for leaf in jax.tree.leaves(network) if hasattr(leaf, "dtype"))
    return sum(leaf.size for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.inexact))


def commit() -> str | None:
    """The commit of the code, marked if it was changed; `None` outside a checkout."""
    where = ["git", "-C", str(Path(__file__).parent)]
    try:
        done = subprocess.run(
            [*where, "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def remove(folder: Path) -> None:
    """Removes a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)

"""A run folder: what training writes into it, and how other commands read it."""

import subprocess
from pathlib import Path
from typing import Any

import equinox as eqx
import jax

import softsde as ss

from . import _build
from ._config import Config, DataConfig
from ._solvers import SolverConfig

_README = """\
# {name}

A run of `python -m experiments.train`. The same command, with this folder, goes on
where it stopped. The folder is also a model: `softsde.load("{folder}")`.

| file | content |
| --- | --- |
| `config.json` | all options of the experiment |
| `levels.json` | blur in pixels as a function of time |
| `metrics.jsonl` | one line every few steps: loss, gradient norm, learning rate |
| `loss.png` | the same as a picture |
| `samples/step_*.png` | uncurated samples, always of the same seed |
| `model.json` | the model: its process, network and card (steps, images seen, commit) |
| `model.safetensors` | its arrays: the averaged weights and the prior |
| `checkpoints/` | the state of the training |

Draw more samples: `python -m experiments.sample {folder}`
Measure them: `python -m experiments.evaluate {folder}`
"""


def start(
    folder: Path, config: Config, source: ss.data.AbstractSource
) -> tuple[ss.Process, ss.EmpiricalPrior]:
    """Makes the folder, or opens it again with the same config.

    **Raises:** `ValueError` if the folder holds a run of another config or other files;
    `FileNotFoundError` if it holds a model whose checkpoints are gone.
    """
    path, levels = folder / "config.json", folder / "levels.json"
    if path.exists():
        old = Config.load(path)
        if old.identity() != config.identity():
            if _has_trained(folder):
                raise ValueError(_other_config(folder, old, config))
            # That session failed before its first step: nothing is lost.
            levels.unlink(missing_ok=True)
            config.save(path)
        _refuse_lost(folder)
    elif folder.exists() and any(p.suffix != ".partial" for p in folder.iterdir()):
        raise ValueError(
            f"{folder} is not empty and holds no run. Choose another with `--folder`."
        )
    else:
        folder.mkdir(parents=True, exist_ok=True)
        # Before anything else: a run that is killed from here on can be resumed.
        config.save(path)
        text = _README.format(name=folder.name, folder=folder)
        (folder / "README.md").write_text(text)
    if not levels.exists():
        _build.make_levels(config.process, source).save(levels)
    process = _build.make_process(
        config.process, source.shape, ss.schedules.load(levels)
    )
    images = ss.data.to_array(source, limit=_build.FITTED_ON)
    return process, ss.EmpiricalPrior.fit(process, images)


def _has_trained(folder: Path) -> bool:
    curve = folder / "metrics.jsonl"
    return (
        (folder / "model.json").exists()
        or (curve.exists() and curve.stat().st_size > 0)
        or any(path.name.isdigit() for path in (folder / "checkpoints").glob("*"))
    )


def _refuse_lost(folder: Path) -> None:
    # `softsde.train.fit` refuses metrics without checkpoints in the same way.
    if (folder / "model.json").exists() and not (folder / "checkpoints").is_dir():
        raise FileNotFoundError(
            f"{folder} holds a trained model, but {folder / 'checkpoints'} is missing, "
            "so training cannot go on, and starting over would overwrite the model. "
            "Copy the checkpoints back to go on. To start anew, choose another "
            f"`--folder`; `--training.initial {folder}` starts from these weights."
        )


def _other_config(folder: Path, old: Config, new: Config) -> str:
    before, after = _flat(old.identity()), _flat(new.identity())
    changed = [
        f"  --{name}: {before.get(name)} there, {after.get(name)} asked for"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    return (
        f"{folder} holds a run of another config:\n"
        + "\n".join(changed)
        + "\nAsk for the same to go on with it, or choose another `--folder`."
    )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def is_shipped(run: str) -> bool:
    """Whether `run` is the name of a model that comes with the package."""
    return run in ss.models.names()


def open_model(run: str) -> ss.Model:
    """The model of a name or a folder.

    **Raises:** `FileNotFoundError` if there is none, or if a run has no model yet.
    """
    folder = Path(run)
    if is_shipped(run) or (folder / "model.json").exists():
        return ss.load(run)
    if (folder / "config.json").exists():
        every = Config.load(folder / "config.json").training.sample_every
        raise FileNotFoundError(
            f"{folder} has no model yet: the first is written after {every} steps. "
            "Train on, or lower `--training.sample-every`."
        )
    runs = sorted(str(path.parent) for path in Path("runs").glob("*/model.json"))
    state = "holds no model (no model.json)" if folder.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"{folder} {state}. Models here: {', '.join(runs) or 'none'}. Models that come "
        f"with the package: {', '.join(ss.models.names())}. Train one with "
        "`python -m experiments.train fashion_mnist_blur`."
    )


def data_of(model: ss.Model) -> DataConfig:
    """The data that a model was trained on, by its card.

    **Raises:** `ValueError` for a card that does not name any.
    """
    data, size = model.card.get("data"), model.card.get("size")
    if not isinstance(data, str):
        raise ValueError(
            "The card of this model does not name the data to compare with. Save the "
            'model with a card that does: `ss.Model(denoiser, prior, {"data": '
            '"mnist"})`, with a name or a path, and for a folder of pictures also '
            '`"size"`.'
        )
    return DataConfig(data, size)


def sampler_of(run: str) -> SolverConfig | None:
    """The sampler that the config of a run folder asks for; `None` without a config."""
    path = Path(run) / "config.json"
    if is_shipped(run) or not path.exists():
        return None
    return Config.load(path).sampling.sampler


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
    """How many numbers are trained."""
    leaves = jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    return sum(leaf.size for leaf in leaves)


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

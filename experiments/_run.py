"""A run folder: what training leaves behind, and how the other commands read it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from tqdm.auto import tqdm

import softsde as ss

from . import _build
from ._config import Config

#: Models that come with the code, each in a folder of its own.
PRETRAINED = Path(__file__).parent / "pretrained"

_README = """\
# {name}

A run of `python -m experiments.train`. The same command, with this folder, goes on
where it stopped.

| file | what it is |
| --- | --- |
| `config.json` | everything that was chosen |
| `levels.json` | blur in pixels as a function of time |
| `prior.eqx` | what samples start from, fitted on the corrupted data |
| `metrics.jsonl` | one line every few steps: loss, gradient norm, learning rate |
| `loss.png` | the same, drawn |
| `samples/step_*.png` | uncurated samples, the same seed each time |
| `model.eqx` | the weights, averaged, renewed with each picture |
| `model.json` | how they came about: steps, images seen, seconds, commit |
| `checkpoints/` | all that is needed to go on |

Draw more samples: `python -m experiments.sample {folder}`
Measure them: `python -m experiments.evaluate {folder}`
"""


@dataclass(frozen=True)
class Model:
    """A trained model, ready to be sampled from."""

    config: Config
    process: ss.Process
    network: ss.nn.UNet
    prior: ss.EmpiricalPrior
    card: dict[str, Any]

    @property
    def denoiser(self) -> ss.Denoiser:
        """`E[x0 | x_t]` under the averaged weights."""
        return ss.Denoiser(self.network, self.process)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of one image."""
        return self.network.shape

    def sample(
        self, num: int, *, seed: int = 0, batch_size: int = 256, **options: Any
    ) -> np.ndarray:
        """Draws images, on all devices, with a progress bar.

        **Arguments:**

        - `num`: how many.
        - `seed`: fixes them: the first 64 of 1000 are those of 64.
        - `batch_size`: how many at once.
        - `options`: of [`softsde.sample`][].

        **Returns:** `(num, height, width, channels)`.
        """
        size, key = min(num, batch_size), jax.random.key(seed)
        drawn = []
        for batch in tqdm(range(-(-num // size)), unit=f" x {size} images"):
            samples = self.sample_batch(size, jax.random.fold_in(key, batch), **options)
            drawn.append(np.asarray(samples.x))
        return np.concatenate(drawn)[:num]

    def sample_batch(self, num: int, key: jax.Array, **options: Any) -> ss.Samples:
        """[`softsde.sample`][] with this process, denoiser and prior."""
        return ss.sample(
            self.process,
            self.denoiser,
            prior=self.prior,
            num_samples=num,
            mesh=Mesh(np.array(jax.local_devices()), ("data",)),
            key=key,
            **options,
        )


def start(
    folder: Path, config: Config, source: ss.data.AbstractSource
) -> tuple[ss.Process, ss.EmpiricalPrior]:
    """Makes the folder, or opens it again with the same config.

    **Raises:** `ValueError` where the folder holds a run of another config.
    """
    path = folder / "config.json"
    if path.exists():
        _refuse_other(folder, Config.load(path), config)
    elif folder.exists() and any(p.suffix != ".partial" for p in folder.iterdir()):
        raise ValueError(
            f"{folder} is not empty and holds no run. Choose another with `--folder`."
        )
    folder.mkdir(parents=True, exist_ok=True)
    # First of all: from here on a killed run is one that can be resumed.
    config.save(path)
    (folder / "README.md").write_text(_README.format(name=folder.name, folder=folder))
    if not (folder / "levels.json").exists():
        _build.make_levels(config.process, source).save(folder / "levels.json")
    process = read_process(folder, config, source.shape)
    if not (folder / "prior.eqx").exists():
        images = ss.data.to_array(source, limit=_build.FITTED_ON)
        prior = ss.EmpiricalPrior.fit(process, images)
        save_prior(folder / "prior.eqx", prior)
    return process, load_prior(folder / "prior.eqx")


def _refuse_other(folder: Path, old: Config, new: Config) -> None:
    before, after = _flat(old.identity()), _flat(new.identity())
    changed = [
        f"  --{name}: {before.get(name)} there, {after.get(name)} asked for"
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    ]
    if changed:
        raise ValueError(
            f"{folder} holds a run of another config:\n"
            + "\n".join(changed)
            + "\nGo on with it by asking for the same, or choose another `--folder`."
        )


def _flat(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in content.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def read_process(
    folder: Path, config: Config, shape: tuple[int, int, int]
) -> ss.Process:
    """The process of a run, with the levels that it was trained with."""
    levels = ss.schedules.load(folder / "levels.json")
    return _build.make_process(config.process, shape, levels)


def save_prior(path: Path, prior: ss.EmpiricalPrior) -> None:
    """Writes a prior, with the shapes that are needed to read it."""
    number = prior.coordinates.shape[0]
    metadata = {"number": number, "directions": list(prior.directions.shape)}
    ss.train.save_model(path, prior, metadata=metadata)


def load_prior(path: Path) -> ss.EmpiricalPrior:
    """Reads what `save_prior` wrote."""
    metadata = ss.train.read_metadata(path)
    number, (rank, *shape) = metadata["number"], metadata["directions"]
    like = ss.EmpiricalPrior(
        jnp.zeros(shape),
        jnp.zeros((rank, *shape)),
        jnp.zeros((number, rank)),
        jnp.zeros(()),
    )
    return ss.train.load_model(path, like)


def write_model(folder: Path, model: Model) -> None:
    """Writes the weights, and what is to be known of them."""
    metadata = model.card | {"shape": list(model.shape)}
    ss.train.save_model(folder / "model.eqx", model.network, metadata=metadata)
    (folder / "model.json").write_text(json.dumps(model.card, indent=1) + "\n")


def locate(name_or_folder: str) -> Path:
    """The folder of a run, or of a model that comes with the code.

    **Raises:** `FileNotFoundError` where it is neither.
    """
    shipped = sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))
    if name_or_folder in shipped:
        return PRETRAINED / name_or_folder
    folder = Path(name_or_folder)
    if (folder / "config.json").exists():
        return folder
    runs = sorted(str(path.parent) for path in Path("runs").glob("*/config.json"))
    state = "holds no run (no config.json)" if folder.is_dir() else "does not exist"
    raise FileNotFoundError(
        f"{folder} {state}. Runs here: {', '.join(runs) or 'none'}. Models that come "
        f"with the code: {', '.join(shipped) or 'none'}. Make a run with "
        "`python -m experiments.train fashion_mnist_blur`."
    )


def open_model(name_or_folder: str) -> Model:
    """The newest averaged weights of a run, or a model that comes with the code.

    **Raises:** `FileNotFoundError` where there is no such run, or no model in it yet.
    """
    folder = locate(name_or_folder)
    config = Config.load(folder / "config.json")
    if not (folder / "model.eqx").exists():
        raise FileNotFoundError(
            f"{folder} has no model yet: the first is written after "
            f"{config.training.sample_every} steps. Train on, or lower "
            "`--training.sample-every`."
        )
    card = ss.train.read_metadata(folder / "model.eqx")
    height, width, channels = card["shape"]
    shape = (height, width, channels)
    like = eqx.filter_eval_shape(_build.make_network, config.network, shape)
    if (folder / "card.json").exists():
        card = json.loads((folder / "card.json").read_text())
    return Model(
        config,
        read_process(folder, config, shape),
        ss.train.load_model(folder / "model.eqx", like),
        load_prior(folder / "prior.eqx"),
        card,
    )


def output_folder(name_or_folder: str) -> Path:
    """Where commands write by default: beside the run, never into the code."""
    folder = locate(name_or_folder)
    inside = folder.is_relative_to(PRETRAINED)
    return Path("runs") / folder.name if inside else folder


def layout(shape: tuple[int, int, int]) -> tuple[int, int]:
    """`scale` and `pad` of a picture of many: small images are enlarged."""
    scale = max(1, 56 // shape[0])
    return scale, max(1, scale // 2)


def count_parameters(network: Any) -> int:
    """How many numbers are trained."""
    return sum(
        x.size for x in jax.tree.leaves(eqx.filter(network, eqx.is_inexact_array))
    )


def commit() -> str | None:
    """The commit of the code, marked if it was changed; `None` outside a checkout."""
    command = [
        "git",
        "-C",
        str(Path(__file__).parent),
        "describe",
        "--always",
        "--dirty",
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()

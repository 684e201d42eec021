"""An experiment as typed data, and the experiments that have a name.

The docstring of a field is its `--help`. A config holds numbers and names only:
objects of the library are specs, names with options, and `_build` makes them.
"""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from softsde._files import write_json

from ._images import ImagesConfig
from ._make import completed
from ._solvers import SolverConfig
from ._spec import Spec


@dataclass(frozen=True)
class DataConfig:
    """The images."""

    source: str
    """A name, such as `mnist`, or your own images: a .npy or .npz file or a folder."""
    images: Annotated[ImagesConfig, tyro.conf.arg(name="")] = field(
        default_factory=ImagesConfig
    )
    held_out: float = 0.1
    """Share of your own images that is kept from training, to measure with. An image is
    chosen by the hash of its content. A folder `test` in yours is used instead."""
    class_shares: tuple[float, ...] = ()
    """Share of the images of each class that is kept, in the order of the classes, for
    unbalanced data. Held-out images are chosen alike."""
    flip: bool = False
    """Mirror half of the images, at random, each time they are seen."""


@dataclass(frozen=True)
class ConditionConfig:
    """Conditions that the network is given beside the corrupted image."""

    labels: bool = False
    """Tell the network the class of each image, so that classes can be sampled."""
    drop: float = 0.1
    """Share of the images whose class is left out, so that samples can be drawn without
    a class, and guided."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, and the moving average of the weights."""

    learning_rate: float = 2e-4
    """The rate after the warm-up."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Keep the rate, or let it fall to zero over `training.steps`."""
    warmup_steps: int = 1000
    """Steps over which the rate grows from zero."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.9999
    """Decay of the moving average of the weights, which draws the samples."""
    sigma_rel: tuple[float, ...] = ()
    """Lengths of averages that grow with training, as shares of it, such as 0.05 0.1.
    They are stored in `averages/`, and `experiments.average` makes the average of any
    length from them."""
    average_every: int = 500
    """Steps between the stored averages of `sigma_rel`."""


@dataclass(frozen=True)
class TrainingConfig:
    """The length of the training, and the files written meanwhile."""

    steps: int
    """Total steps, over all sessions of the run."""
    batch_size: int = 128
    """Images a step, over all devices together."""
    seed: int = 0
    """Seed for initial weights, data order, times and noise."""
    initial: str | None = None
    """Start from the weights of this model: a folder, or a shipped model's name."""
    max_seconds: float | None = None
    """Stop after this time, with a checkpoint; `--resume FOLDER` goes on."""
    sample_every: int = 1500
    """Steps between pictures of samples. The model and `loss.png` are written too."""
    checkpoint_seconds: float = 300.0
    """Seconds between checkpoints."""
    log_every: int = 50
    """Steps between lines of `metrics.jsonl`."""


@dataclass(frozen=True)
class SamplingConfig:
    """The pictures made while training, and the sampler of the other commands."""

    num: int = 64
    """Samples in a picture."""
    sampler: Annotated[SolverConfig, tyro.conf.arg(name="")] = field(
        default_factory=SolverConfig
    )
    seed: int = 0
    """Seed of the samples, the same for all pictures of a run: they can be compared."""


#: The parts of a config that are objects of the library, and their kinds.
PARTS = {
    "process": "process",
    "network": "network",
    "loss": "loss",
    "times": "times",
    "prior": "prior",
    "parametrisation": "parametrisation",
}

#: The part is chosen for the process and the images.
DEFAULT = Spec("default")


@dataclass(frozen=True)
class Config:
    """One experiment."""

    data: DataConfig
    training: TrainingConfig
    process: Spec
    network: Spec = field(default_factory=lambda: Spec("UNet"))
    # Under 1 / sigma the gradients of all times have about the same size: see
    # docs/formalism.md.
    loss: Spec = field(
        default_factory=lambda: Spec("SoftScoreMatching", {"weight": "inverse_std"})
    )
    times: Spec = field(default_factory=lambda: Spec("LowDiscrepancyTimes"))
    prior: Spec = field(default_factory=lambda: Spec("EmpiricalPrior"))
    parametrisation: Spec = DEFAULT
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def identity(self) -> dict[str, Any]:
        """The part that may not change when a run is resumed.

        The number of steps, the learning rate and the sampler may.
        """
        content = to_dict(self)
        for name, kind in PARTS.items():
            spec = getattr(self, name)
            if spec != DEFAULT:
                content[name] = completed(spec, (kind,), f"--{name}").to_json()
        del content["sampling"]
        content["training"] = self.of_checkpoints()
        content["optimiser"] = {
            name: content["optimiser"][name]
            for name in ("clip", "ema_decay", "sigma_rel")
        }
        return content

    def of_checkpoints(self) -> dict[str, Any]:
        """The part that checkpoints are compared by: it decides the order of the data.

        The rest of the config is compared with config.json.
        """
        return {"batch_size": self.training.batch_size, "seed": self.training.seed}

    def save(self, path: Path) -> None:
        """Writes the config as JSON, whole or not at all."""
        write_json(path, to_dict(self))

    @staticmethod
    def load(path: Path) -> "Config":
        """Reads what `save` wrote.

        **Raises:** `ValueError` for a file that holds no config, naming the field.
        """
        try:
            return from_dict(Config, json.loads(path.read_text()))
        except (ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} does not hold a config: {error}") from error


def to_dict(config: Any) -> Any:
    """A config as plain data."""
    if isinstance(config, Spec):
        return config.to_json()
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        return {
            f.name: to_dict(getattr(config, f.name)) for f in dataclasses.fields(config)
        }
    return list(config) if isinstance(config, tuple) else config


def from_dict(cls: type, content: Any, where: str = "") -> Any:
    """The dataclass that became `content` by `to_dict` and JSON."""
    if not isinstance(content, dict):
        raise TypeError(f"{where or 'it'} should be an object, got {content!r}.")
    hints = typing.get_type_hints(cls)
    unknown = sorted(content.keys() - hints.keys())
    required = {
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - content.keys())
    if unknown or missing:
        raise ValueError(f"{where or 'it'}: unknown {unknown}, missing {missing}.")
    values = {}
    for name, value in content.items():
        hint = hints[name]
        if typing.get_origin(hint) is Annotated:
            hint = typing.get_args(hint)[0]
        if hint is Spec:
            try:
                value = Spec.from_json(value)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{where}{name}: {error}") from error
        elif dataclasses.is_dataclass(hint):
            # A class in a variable, which no type checker knows.
            value = from_dict(hint, value, f"{where}{name}")  # pyright: ignore[reportArgumentType]
        else:
            if isinstance(value, list):
                value = tuple(value)
            _check_type(value, hint, f"{where}{'.' if where else ''}{name}")
        values[name] = value
    return cls(**values)


def _check_type(value: Any, hint: Any, where: str) -> None:
    """Refuses a value of another type than the field's."""
    if typing.get_origin(hint) is Annotated:
        hint = typing.get_args(hint)[0]
    options = (
        typing.get_args(hint)
        if typing.get_origin(hint) in (types.UnionType, typing.Union)
        else (hint,)
    )
    for option in options:
        if typing.get_origin(option) is Literal:
            if value in typing.get_args(option):
                return
            continue
        plain = typing.get_origin(option) or option
        is_number = plain is float and type(value) is int
        if is_number or (
            isinstance(value, plain) and (type(value) is not bool or plain is bool)
        ):
            return
    raise ValueError(f"{where} is {value!r}; expected {hint}")

"""An experiment as typed data, and the experiments that have a name.

The docstring of a field is its `--help`. A config holds numbers and names only;
`_build` makes the objects that they stand for.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from softsde._files import write_json

from ._solvers import SolverConfig


@dataclass(frozen=True)
class DataConfig:
    """The images."""

    source: str
    """A name, such as `mnist`, or your own images: a .npy or .npz file or a folder."""
    size: int | None = None
    """Side in pixels to which the pictures of a folder are resized."""
    flip: bool = False
    """Mirror half of the images, at random, each time they are seen."""


@dataclass(frozen=True)
class ProcessConfig:
    """How images are corrupted: a Gaussian blur plus a little noise."""

    max_blur: float
    """Standard deviation of the last blur, in pixels."""
    half_size: int | None = None
    """Half size of the truncated kernel, in pixels; by default, that of the image."""
    padding: Literal["zero", "reflect", "symmetric", "periodic"] = "zero"
    """What the blur sees beyond the border."""
    sigma_min: float = 0.01
    """Noise of clean images; images are in [0, 1]."""
    sigma_max: float = 0.1
    """Noise after `noise_fraction` of the time."""
    noise_fraction: float = 0.2
    """Share of the time in which the noise grows, before the blur begins."""
    levels: Literal["transport", "geometric"] = "transport"
    """Blur over time: even steps of optimal transport on the data, or geometric."""


@dataclass(frozen=True)
class NetworkConfig:
    """The UNet."""

    base_channels: int = 64
    """Width of the finest level."""
    channel_multipliers: tuple[int, ...] = (1, 2)
    """Width of each level, finest first, in units of the base."""
    blocks_per_level: int | tuple[int, ...] = 2
    """Residual blocks on either side of each level; one number, or one a level."""
    attention_levels: tuple[int, ...] = ()
    """Levels with self-attention, counted from 0, the finest."""
    num_heads: int = 4
    """Heads of the self-attention."""
    dropout: float = 0.0
    """Probability with which a feature is dropped while training."""
    patch_size: int = 1
    """Side of the patches that the levels work on; 2 is nearly four times as fast."""
    refine_channels: int = 16
    """Width of the thin level at full resolution around the patches."""
    seed: int = 0
    """Seed of the initial weights."""


@dataclass(frozen=True)
class LossConfig:
    """Soft Score Matching."""

    # Under 1 / sigma the gradients of all times have about the same size: see
    # docs/formalism.md.
    weight: Literal[
        "one", "inverse_std", "inverse_variance", "inverse_variance_squared"
    ] = "inverse_std"
    """Weight in time. With `inverse_std` all times have about the same influence;
    `inverse_variance` is the paper's."""
    times: Literal["low_discrepancy", "uniform"] = "low_discrepancy"
    """How the times of a batch are drawn: evenly spaced, or independent."""


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


@dataclass(frozen=True)
class TrainingConfig:
    """How long to train, and what to write meanwhile."""

    steps: int
    """Total steps, over all sessions of the run."""
    batch_size: int = 128
    """Images a step, over all devices together."""
    seed: int = 0
    """Seed for data order, times and noise."""
    initial: str | None = None
    """Start from the weights of this model: a folder, or a shipped model's name."""
    max_seconds: float | None = None
    """Stop after this time, with a checkpoint; the same command resumes."""
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


@dataclass(frozen=True)
class Config:
    """One experiment."""

    data: DataConfig
    process: ProcessConfig
    training: TrainingConfig
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)

    def identity(self) -> dict[str, Any]:
        """The part that may not change when a run is resumed.

        The number of steps may change, unless the learning rate depends on it.
        """
        parts = dataclasses.asdict(self)
        del parts["sampling"]
        lasting = ["batch_size", "seed", "initial"]
        if self.optimiser.schedule == "cosine":
            lasting.append("steps")
        parts["training"] = {name: parts["training"][name] for name in lasting}
        return parts

    def save(self, path: Path) -> None:
        """Writes the config as JSON, whole or not at all."""
        write_json(path, dataclasses.asdict(self))

    @staticmethod
    def load(path: Path) -> "Config":
        """Reads what `save` wrote.

        **Raises:** `ValueError` for a file that holds no config, naming the field.
        """
        try:
            return from_dict(Config, json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} does not hold a config: {error}") from error


def from_dict(cls: type, content: Any, where: str = "") -> Any:
    """The dataclass that became `content` by `dataclasses.asdict` and JSON."""
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
        if dataclasses.is_dataclass(hint):
            value = from_dict(hint, value, f"{where}{name}")  # pyright: ignore
        elif isinstance(value, list):
            value = tuple(value)
        values[name] = value
    return cls(**values)


# A million parameters, 4 MB: two hours of two cores show it a million images.
_CPU_NETWORK = NetworkConfig(
    base_channels=48, patch_size=2, blocks_per_level=1, attention_levels=(1,)
)
_CPU_OPTIMISER = OptimiserConfig(
    learning_rate=1e-3, schedule="cosine", warmup_steps=500, ema_decay=0.999
)


_CPU_TRAINING = TrainingConfig(steps=20_000, batch_size=64, sample_every=2000)


@dataclass(frozen=True)
class Preset:
    """An experiment that has a name."""

    summary: str
    config: Config


PRESETS: dict[str, Preset] = {
    "digits_blur": Preset(
        "8x8 digits of scikit-learn: offline, minutes on a CPU.",
        Config(
            data=DataConfig("digits"),
            process=ProcessConfig(max_blur=5.0),
            network=NetworkConfig(
                base_channels=32, channel_multipliers=(1, 2), blocks_per_level=1
            ),
            optimiser=OptimiserConfig(
                learning_rate=2e-3, schedule="cosine", warmup_steps=100, ema_decay=0.995
            ),
            training=TrainingConfig(steps=3000, sample_every=1000),
        ),
    ),
    "fashion_mnist_blur": Preset(
        "28x28 garments: hours on a CPU.",
        Config(
            data=DataConfig("fashion_mnist"),
            process=ProcessConfig(max_blur=18.0),
            network=_CPU_NETWORK,
            optimiser=_CPU_OPTIMISER,
            training=_CPU_TRAINING,
        ),
    ),
    "mnist_blur": Preset(
        "28x28 handwritten digits: hours on a CPU.",
        Config(
            data=DataConfig("mnist"),
            process=ProcessConfig(max_blur=18.0),
            network=_CPU_NETWORK,
            optimiser=_CPU_OPTIMISER,
            training=_CPU_TRAINING,
        ),
    ),
    "cifar10_blur": Preset(
        "32x32 colour photographs, the paper's blur: for an accelerator.",
        Config(
            data=DataConfig("cifar10", flip=True),
            process=ProcessConfig(max_blur=18.0, half_size=32),
            network=NetworkConfig(
                base_channels=128,
                channel_multipliers=(1, 2, 2),
                blocks_per_level=4,
                attention_levels=(1,),
                dropout=0.1,
            ),
            optimiser=OptimiserConfig(warmup_steps=5000),
            training=TrainingConfig(steps=1_000_000, sample_every=10_000),
        ),
    ),
    "celeba_blur": Preset(
        "64x64 faces in a folder, the paper's settings: for an accelerator.",
        Config(
            data=DataConfig("data/celeba", size=64, flip=True),
            process=ProcessConfig(max_blur=23.0, half_size=80),
            network=NetworkConfig(
                base_channels=128,
                channel_multipliers=(1, 2, 2, 2),
                blocks_per_level=4,
                attention_levels=(2,),
                dropout=0.1,
            ),
            optimiser=OptimiserConfig(warmup_steps=5000),
            training=TrainingConfig(steps=1_000_000, sample_every=10_000),
        ),
    ),
}

"""What an experiment is, as typed data, and the experiments that have a name.

Every field's docstring is its `--help`. A config holds numbers and names only; what
they stand for is made in `_build`.
"""

import dataclasses
import json
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class DataConfig:
    """The images."""

    source: str
    """A name, such as `mnist`, or one's own images: a .npy or .npz file or a folder."""
    size: int | None = None
    """Side in pixels to which a folder's pictures are brought."""
    flip: bool = False
    """Whether to mirror half of the images, at random, each time they are seen."""


@dataclass(frozen=True)
class ProcessConfig:
    """How images are corrupted: a Gaussian blur plus a little noise."""

    max_blur: float
    """Standard deviation of the last blur, in pixels."""
    half_size: int | None = None
    """Half size of the truncated kernel, in pixels; by default, that of the image."""
    padding: Literal["zero", "reflect", "symmetric", "periodic"] = "zero"
    """What lies beyond the border."""
    sigma_min: float = 0.01
    """Noise of clean images; images are in [0, 1]."""
    sigma_max: float = 0.1
    """Noise from `noise_fraction` on."""
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
    """Of the initial weights."""


@dataclass(frozen=True)
class LossConfig:
    """Soft Score Matching."""

    # Under 1 / sigma the gradients of all times are of one size: see docs/formalism.md.
    weight: Literal[
        "one", "inverse_std", "inverse_variance", "inverse_variance_squared"
    ] = "inverse_std"
    """Weight in time; with `inverse_std` all times pull alike on the weights."""
    times: Literal["low_discrepancy", "uniform"] = "low_discrepancy"
    """How the times of a batch are drawn: evenly spaced, or independent."""


@dataclass(frozen=True)
class OptimiserConfig:
    """Adam, and the moving average of the weights."""

    learning_rate: float = 2e-4
    """After the warm-up."""
    schedule: Literal["constant", "cosine"] = "constant"
    """Keep the rate, or let it fall to zero over `training.steps`."""
    warmup_steps: int = 1000
    """Steps in which the rate grows linearly."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema_decay: float = 0.9999
    """Of the moving average of the weights, which is what draws samples."""


@dataclass(frozen=True)
class TrainingConfig:
    """How long, in what portions, and what to write on the way."""

    steps: int
    """Steps in all, over all sessions of the run."""
    batch_size: int = 128
    """Images a step, over all devices."""
    seed: int = 0
    """Of the order of the images, the times and the noise."""
    initial: str | None = None
    """A run folder or a model that comes with the code, whose weights to start from."""
    max_seconds: float | None = None
    """Stop this session, with a checkpoint, after so long; the same command resumes."""
    sample_every: int = 1500
    """Steps between pictures of samples; `model.eqx` and `loss.png` are renewed too."""
    checkpoint_seconds: float = 300.0
    """Seconds between checkpoints."""
    log_every: int = 50
    """Steps between lines of `metrics.jsonl`."""


@dataclass(frozen=True)
class SamplingConfig:
    """The pictures made while training, and the sampler that other commands use."""

    num: int = 64
    """Samples in a picture."""
    steps: int = 60
    """Steps of the sampler."""
    churn: float = 0.0
    """Noise above the paper's: see `experiments.sample --help`."""
    seed: int = 0
    """The same for all pictures of a run, so that they can be compared."""


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
        """What may not change between a stop and a resumption.

        How long to train may, unless the learning rate falls with it.
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
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=1) + "\n")
        partial.replace(path)

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
    """The dataclass that `dataclasses.asdict` took apart, through JSON."""
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
            sampling=SamplingConfig(churn=40.0),
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
            sampling=SamplingConfig(steps=200, churn=40.0),
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
            sampling=SamplingConfig(steps=200, churn=40.0),
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

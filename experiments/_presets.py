"""The experiments that have a name."""

from dataclasses import dataclass, replace
from typing import Any

from ._config import (
    DEFAULT,
    Config,
    DataConfig,
    OptimiserConfig,
    SamplingConfig,
    TrainingConfig,
)
from ._images import ImagesConfig
from ._solvers import SolverConfig
from ._spec import Spec, parse

# A million parameters, 4 MB. Two cores train it in about three hours.
_CPU_NETWORK = Spec(
    "UNet",
    {
        "base_channels": 48,
        "channel_multipliers": (1, 2),
        "patch_size": 2,
        "attention_levels": (1,),
        "positions": True,
    },
)
_CPU_OPTIMISER = OptimiserConfig(
    learning_rate=1e-3, schedule="cosine", warmup_steps=500, ema_decay=0.999
)
_CPU_TRAINING = TrainingConfig(steps=20_000, batch_size=64, sample_every=2000)

#: For minutes on a CPU.
_SMALL_NETWORK = Spec("UNet", {"base_channels": 32, "channel_multipliers": (1, 2)})
_SMALL_OPTIMISER = OptimiserConfig(
    learning_rate=2e-3, schedule="cosine", warmup_steps=100, ema_decay=0.995
)


def _blur(max_blur: float | None, **options: Any) -> Spec:
    """Blur and noise, at even steps of optimal transport on the data."""
    levels = Spec("transport_schedule")
    return Spec("soft_blur", {"max_blur": max_blur, "levels": levels, **options})


@dataclass(frozen=True)
class Preset:
    """An experiment that has a name."""

    summary: str
    config: Config


#: Of half of ten classes, every fifth image: which classes are drawn too rarely?
_FEW_OF_HALF = (1.0,) * 5 + (0.2,) * 5

#: The images of the papers.
_PHOTOGRAPHS = DataConfig("cifar10", flip=True)
_FACES = DataConfig("data/celeba", ImagesConfig(size=64), flip=True)


def _on_cpu(
    source: str, max_blur: float | None = 18.0, network: Spec = _CPU_NETWORK
) -> Config:
    """Hours on a CPU."""
    return Config(
        data=DataConfig(source),
        process=_blur(max_blur),
        network=network,
        optimiser=_CPU_OPTIMISER,
        training=_CPU_TRAINING,
    )


def _small(data: DataConfig) -> Config:
    """Minutes on a CPU, for 8x8 images."""
    return Config(
        data=data,
        process=_blur(5.0),
        network=_SMALL_NETWORK,
        optimiser=_SMALL_OPTIMISER,
        training=TrainingConfig(steps=3000, sample_every=1000),
    )


def _on_accelerator(
    data: DataConfig, max_blur: float, half_size: int, levels: int, attention: int
) -> Config:
    """A large UNet, for an accelerator."""
    network = {
        "base_channels": 128,
        "blocks_per_level": 4,
        "dropout": 0.1,
        "channel_multipliers": (1, *(2,) * (levels - 1)),
        "attention_levels": (attention,),
    }
    return Config(
        data=data,
        process=_blur(max_blur, half_size=half_size),
        network=Spec("UNet", network),
        optimiser=OptimiserConfig(warmup_steps=5000),
        training=TrainingConfig(steps=1_000_000, sample_every=10_000),
    )


PRESETS: dict[str, Preset] = {
    "digits_blur": Preset(
        "8x8 digits of scikit-learn: offline, minutes on a CPU.",
        _small(DataConfig("digits")),
    ),
    "digits_unbalanced": Preset(
        "the same digits, of 5 to 9 only every fifth.",
        _small(DataConfig("digits", class_shares=_FEW_OF_HALF)),
    ),
    "fashion_mnist_blur": Preset(
        "28x28 garments: hours on a CPU.", _on_cpu("fashion_mnist")
    ),
    "mnist_blur": Preset("28x28 handwritten digits: hours on a CPU.", _on_cpu("mnist")),
    "mnist_unbalanced": Preset(
        "28x28 handwritten digits, of 5 to 9 only every fifth.",
        replace(_on_cpu("mnist"), data=DataConfig("mnist", class_shares=_FEW_OF_HALF)),
    ),
    "images": Preset(
        "your own images: --data.source FOLDER, or a .npy or .npz file.",
        _on_cpu("", None, DEFAULT),
    ),
    "cifar10_blur": Preset(
        "32x32 colour photographs, a UNet of ours: for an accelerator.",
        _on_accelerator(_PHOTOGRAPHS, 18.0, 32, levels=3, attention=1),
    ),
    "celeba_blur": Preset(
        "64x64 faces in a folder, a UNet of ours: for an accelerator.",
        _on_accelerator(_FACES, 23.0, 80, levels=4, attention=2),
    ),
}

#: The network of the papers: NCSN++ "without any changes" (Appendix D). It is told the
#: time and not the noise, for the noise rests while the blur grows.
_PAPER_NETWORK = Spec("NCSNpp", {"embedding": "positional", "scale_by_sigma": False})


def _paper(
    data: DataConfig,
    max_blur: float,
    half_size: int,
    steps: int,
    *,
    process: Spec | None = None,
    clean: bool = False,
    **blur: Any,
) -> Config:
    """Appendices D and G of *Soft Diffusion*, with a change of an ablation.

    What the paper does not print is that of the published configuration of NCSN++:
    dropout 0.1, flips, and averages with the decay 0.999.
    """
    return Config(
        data=data,
        process=process or _blur(max_blur, half_size=half_size, **blur),
        network=_PAPER_NETWORK,
        loss=Spec("CleanPrediction")
        if clean
        else Spec("SoftScoreMatching", {"weight": "inverse_variance"}),
        times=Spec("UniformTimes"),
        prior=Spec("FlatColourPrior"),
        parametrisation=Spec("Residual"),
        optimiser=OptimiserConfig(
            learning_rate=2e-4, warmup_steps=5000, clip=1.0, ema_decay=0.999
        ),
        training=TrainingConfig(steps=steps, batch_size=128, sample_every=10_000),
        sampling=SamplingConfig(sampler=SolverConfig(solver="momentum", clock="sde")),
    )


def _ncsn(data: DataConfig, num_levels: int) -> Config:
    """NCSN, as published: geometric levels of noise from 1 to 0.01, and 100 moves at
    each (Song and Ermon, 2019). The average of the weights is that of 2020."""
    levels = f'noise_sequence("geometric", {num_levels})'
    langevin = f"AnnealedLangevin(levels={levels}, step_size=2e-5, steps=100)"
    return Config(
        data=data,
        process=Spec("ve", {"sigma_min": 0.01, "sigma_max": 1.0}),
        network=Spec("NCSN", {"num_levels": num_levels}),
        loss=Spec("AnnealedDSM", {"sigmas": parse(levels, "levels")}),
        times=Spec("UniformTimes"),
        prior=Spec("GaussianPrior"),
        parametrisation=Spec("Score"),
        optimiser=OptimiserConfig(
            learning_rate=1e-3, warmup_steps=0, clip=1.0, ema_decay=0.999
        ),
        training=TrainingConfig(steps=200_000, sample_every=10_000),
        sampling=SamplingConfig(sampler=SolverConfig(solver=langevin)),
    )


#: The ablations of the paper: a summary, and the options that change.
ABLATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "noise_0.05": ("noise up to 0.05", {"sigma_max": 0.05}),
    "noise_0.025": ("noise up to 0.025", {"sigma_max": 0.025}),
    "together": (
        "noise and blur grow together",
        {"noise_fraction": 1.0, "blur_start": 0.0},
    ),
    "clean": ("the loss of clean prediction", {"clean": True}),
    "matched_error": (
        "levels of matched errors, Eq. 55",
        {
            # The error of Eq. 55 includes the noise of the process.
            "levels": Spec(
                "matched_error_schedule",
                {
                    "reference_process": Spec("ve", {"sigma_max": 50.0}),
                    "noise": Spec("TwoPhase"),
                },
            )
        },
    ),
    "mask": ("masks in place of blur", {"process": Spec("hard_mask")}),
}


def _paper_presets() -> dict[str, Preset]:
    """Both data sets of the paper, and the ablations of each."""
    found = {}
    for name, data, settings in (
        ("paper_cifar10", "CIFAR-10", (_PHOTOGRAPHS, 18.0, 32, 1_000_000)),
        ("paper_celeba64", "faces", (_FACES, 23.0, 80, 2_000_000)),
    ):
        found[name] = Preset(
            f"{data}, the settings of Soft Diffusion: for accelerators.",
            _paper(*settings),
        )
        for change, (words, options) in ABLATIONS.items():
            found[f"{name}_{change}"] = Preset(
                f"an ablation: {words}.", _paper(*settings, **options)
            )
    return found


PRESETS |= _paper_presets()

PRESETS |= {
    "ncsn_mnist": Preset(
        "28x28 digits, NCSN with the report's 200 levels: for an accelerator.",
        _ncsn(DataConfig("mnist"), 200),
    ),
    "ncsn_cifar10": Preset(
        "32x32 photographs, NCSN with its 10 levels: for an accelerator.",
        _ncsn(_PHOTOGRAPHS, 10),
    ),
}

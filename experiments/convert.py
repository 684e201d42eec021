"""Make a model of published weights: `python -m experiments.convert FILE NAME`.

Reads a checkpoint of PyTorch without PyTorch and without running anything in it, puts
its weights into the network of the configuration of that name, and writes a model
folder that `ss.load` opens. The moving average of the weights is taken where the file
has one.

    python -m experiments.convert checkpoint_24.pth ncsnpp_cifar10_continuous
    python -m experiments.convert checkpoint_26.pth ddpmpp_cifar10_continuous
    python -m experiments.convert edm-cifar10-32x32-uncond-vp.pkl edm_cifar10_ddpmpp
    python -m experiments.convert edm2-img64-s-1073741-0.075.pkl edm2_imagenet64_s
"""

import functools
import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import tyro

import softsde as ss
from softsde import parametrisations

from . import _cli


@dataclass(frozen=True)
class Configuration:
    """A published configuration: its network, its process, and how they go together."""

    summary: str
    """Description, with the number of parameters."""
    network: Callable[..., Any]
    """Makes the network from a key."""
    process: Callable[[], ss.Process]
    """Makes the process."""
    parametrisation: parametrisations.AbstractParametrisation
    """Parametrisation of the output."""
    range: tuple[float, float]
    """Smallest and largest value of the images."""
    source: str
    """Source of the configuration."""


_SCORE_SDE = "yang-song/score_sde_pytorch, configs/"

CONFIGURATIONS: Mapping[str, Configuration] = {
    # VE: the network gives a score, of images in [0, 1].
    "ncsnpp_cifar10_continuous": Configuration(
        "NCSN++ for CIFAR-10, VE, 62.8 million parameters",
        ss.nn.NCSNpp.cifar10_continuous,
        lambda: ss.ve(0.01, 50.0),
        parametrisations.Score(),
        (0.0, 1.0),
        f"{_SCORE_SDE}ve/cifar10_ncsnpp_continuous.py",
    ),
    "ncsnpp_cifar10_deep_continuous": Configuration(
        "NCSN++ for CIFAR-10, VE, with twice as many blocks, 107.6 million parameters",
        ss.nn.NCSNpp.cifar10_deep,
        lambda: ss.ve(0.01, 50.0),
        parametrisations.Score(),
        (0.0, 1.0),
        f"{_SCORE_SDE}ve/cifar10_ncsnpp_deep_continuous.py",
    ),
    "ncsnpp_celeba64": Configuration(
        "NCSN++ for CelebA at 64x64, VE by levels, 62.7 million parameters",
        ss.nn.NCSNpp.celeba64,
        lambda: ss.ve(0.01, 90.0),
        parametrisations.Score(),
        (0.0, 1.0),
        f"{_SCORE_SDE}ve/celeba_ncsnpp.py",
    ),
    # VE by the index of a level: 232 levels, of images in [0, 1].
    "ncsnv2_cifar10": Configuration(
        "NCSNv2 for CIFAR-10, 232 levels of noise",
        functools.partial(ss.nn.NCSNv2, shape=(32, 32, 3)),
        lambda: ss.ve(0.01, 50.0),
        parametrisations.Score(),
        (0.0, 1.0),
        "ermongroup/ncsnv2, configs/cifar10.yml",
    ),
    # VP: the network gives the noise, of images in [-1, 1]: its score is -output/sigma.
    "ddpmpp_cifar10_continuous": Configuration(
        "DDPM++ for CIFAR-10, VP, 61.8 million parameters",
        ss.nn.DDPMpp.cifar10_continuous,
        lambda: ss.vp(0.1, 20.0),
        parametrisations.Noise(),
        (-1.0, 1.0),
        f"{_SCORE_SDE}vp/cifar10_ddpmpp_continuous.py",
    ),
    # EDM: the network within its preconditioning, of images in [-1, 1].
    "edm_cifar10_ddpmpp": Configuration(
        "EDM's DDPM++ for CIFAR-10 (vp), 55.7 million parameters",
        ss.nn.SongUNet.cifar10_ddpmpp,
        ss.edm,
        parametrisations.EDM(0.5),
        (-1.0, 1.0),
        "NVlabs/edm, edm-cifar10-32x32-uncond-vp",
    ),
    "edm_cifar10_ncsnpp": Configuration(
        "EDM's NCSN++ for CIFAR-10 (ve), 56.4 million parameters",
        ss.nn.SongUNet.cifar10_ncsnpp,
        ss.edm,
        parametrisations.EDM(0.5),
        (-1.0, 1.0),
        "NVlabs/edm, edm-cifar10-32x32-uncond-ve",
    ),
    "edm_cifar10_ddpmpp_classes": Configuration(
        "The same DDPM++ with the ten classes as labels",
        functools.partial(ss.nn.SongUNet.cifar10_ddpmpp, num_classes=10),
        ss.edm,
        parametrisations.EDM(0.5),
        (-1.0, 1.0),
        "NVlabs/edm, edm-cifar10-32x32-cond-vp",
    ),
    "edm_cifar10_ncsnpp_classes": Configuration(
        "The same NCSN++ with the ten classes as labels",
        functools.partial(ss.nn.SongUNet.cifar10_ncsnpp, num_classes=10),
        ss.edm,
        parametrisations.EDM(0.5),
        (-1.0, 1.0),
        "NVlabs/edm, edm-cifar10-32x32-cond-ve",
    ),
    # EDM2: the same preconditioning. Its files hold an average of one length each.
    **{
        f"edm2_imagenet64_{size}": Configuration(
            f"EDM2's network of size {size.upper()} for ImageNet at 64x64, {millions} "
            "million parameters",
            functools.partial(ss.nn.EDM2UNet.imagenet64, size),
            ss.edm,
            parametrisations.EDM(0.5),
            (-1.0, 1.0),
            f"NVlabs/edm2, edm2-img64-{size}",
        )
        for size, millions in (
            ("xs", 125),
            ("s", 280),
            ("m", 498),
            ("l", 777),
            ("xl", 1119),
        )
    },
}


def convert_weights(
    content: Any,
    name: str,
    *,
    average: bool = True,
    changes: Mapping[str, Any] | None = None,
) -> ss.Model:
    """The model of a checkpoint that [`softsde.models.read_torch`][] has read.

    **Arguments:**

    - `content`: the checkpoint.
    - `name`: of a configuration.
    - `average`: whether to take the moving average of the weights.
    - `changes`: options of the network that differ from the configuration's.

    **Returns:** a model with the noise of the last time for its prior, as published.

    **Raises:** `ValueError` for a checkpoint of another layout or configuration.
    """
    configuration = CONFIGURATIONS[name]
    state = ss.models.published_weights(content, average=average)
    # Its initial weights are not computed: all of them are replaced.
    like = eqx.filter_eval_shape(
        configuration.network, key=jax.random.key(0), **(changes or {})
    )
    # EDM pickles its preconditioning, with the network within it.
    wrapped = all(key.startswith("model.") for key in state)
    network = ss.nn.load_state_dict(like, state, prefix="model." if wrapped else "")
    process = configuration.process()
    denoiser = ss.Denoiser(network, process, configuration.parametrisation)
    shape = tuple(network.arguments["shape"])
    prior = ss.GaussianPrior(
        mean=jnp.zeros(shape),
        factors=jnp.zeros((0, *shape)),
        sigma=process.sigma(jnp.asarray(process.t1)),
        process=process,
        time=process.t1,
    )
    card = {
        "configuration": name,
        "source": configuration.source,
        "weights": "moving average" if average else "last step",
        "range": list(configuration.range),
        "parameters": sum(
            leaf.size for leaf in jax.tree.leaves(eqx.filter(network, eqx.is_array))
        ),
    }
    return ss.Model(denoiser, prior, card)


@dataclass(frozen=True)
class Convert:
    """Make a model of published weights."""

    file: tyro.conf.Positional[Path]
    """The checkpoint: a .pth, .pt or .pkl."""
    name: tyro.conf.Positional[str]
    """The configuration that it was trained with."""
    out: Path | None = None
    """The folder to write; by default `models/NAME`."""
    last: bool = False
    """Take the weights of the last step, instead of their moving average."""


def convert(command: Convert) -> list[Path]:
    """Converts, and returns the paths written."""
    if command.name not in CONFIGURATIONS:
        listed = "\n".join(
            f"  {name}: {known.summary}" for name, known in CONFIGURATIONS.items()
        )
        raise ValueError(
            f"There is no configuration {command.name!r}. Known are\n{listed}"
        )
    began = time.perf_counter()
    content = ss.models.read_torch(command.file, inert=True)
    model = convert_weights(content, command.name, average=not command.last)
    with open(command.file, "rb") as file:
        checksum = hashlib.file_digest(file, "sha256").hexdigest()
    card = {**model.card, "file": command.file.name, "sha256": checksum}
    model = ss.Model(model.denoiser, model.prior, card)
    folder = model.save(command.out or Path("models") / command.name)
    print(f"{model!r}\nin {time.perf_counter() - began:.1f} s")
    return [folder / "model.json", folder / "model.safetensors"]


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Convert, "experiments.convert", __doc__)
    paths = convert(command)
    _cli.wrote(*paths)
    folder = paths[0].parent
    _cli.next_commands(
        f"python -c \"import softsde as ss; print(ss.load('{folder}'))\""
    )


if __name__ == "__main__":
    main()

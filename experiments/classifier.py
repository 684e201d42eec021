"""Train a small classifier: `python -m experiments.classifier fashion_mnist`.

`experiments.evaluate` compares samples with data in the features of its penultimate
layer. Takes some minutes on a CPU.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro

import softsde as ss

from . import _cli, _images, _run
from ._errors import CommandError, FolderError
from ._images import ImagesConfig


@dataclass(frozen=True)
class Train:
    """Train a classifier, or go on training it."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="DATA")]
    """`digits`, `mnist`, `fashion_mnist`, `cifar10`, or your own images with labels: a
    folder with a subfolder for each class, or a .npz file with `images` and `labels`.
    """
    images: Annotated[ImagesConfig, tyro.conf.arg(name="")] = field(
        default_factory=ImagesConfig
    )
    held_out: float = 0.1
    """Share of your own images that is kept from training, as in `experiments.train`.
    """
    folder: Path | None = None
    """Folder to write to; by default runs/classifier_DATA."""
    epochs: float = 8.0
    """Number of times that each image is seen."""
    batch_size: int = 128
    """Images a step."""
    learning_rate: float = 2e-3
    """The largest rate, after which it falls to zero."""
    shift: int = 1
    """Move images by up to this many pixels, at random, each time they are seen."""
    flip: bool = False
    """Mirror half of the images, at random; for garments and photographs."""
    widths: tuple[int, ...] = (16, 32, 64)
    """Channels of each level, finest first."""
    num_features: int = 64
    """Length of the penultimate layer."""
    seed: int = 0
    """Seed of weights, data order and augmentation."""


@dataclass(frozen=True)
class Shift(grain.transforms.RandomMap):
    """Moves an image by up to `pixels` in each direction, and fills up with black."""

    pixels: int

    def random_map(self, element: dict[str, Any], rng: np.random.Generator) -> Any:
        image, pixels = element["image"], self.pixels
        height, width, _ = image.shape
        top, left = rng.integers(0, 2 * pixels + 1, size=2)
        padded = np.pad(image, ((pixels, pixels), (pixels, pixels), (0, 0)))
        return element | {"image": padded[top : top + height, left : left + width]}


def loss_fn(classifier, batch, *, key):
    """Cross-entropy, and the accuracy as a metric."""
    keys = jax.random.split(key, len(batch["label"]))
    logits = jax.vmap(lambda x, k: classifier(x, key=k))(batch["image"], keys)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
    right = jnp.argmax(logits, axis=-1) == batch["label"]
    return jnp.mean(losses), {"accuracy": jnp.mean(right.astype(logits.dtype))}


def train(command: Train) -> tuple[Path, dict[str, Any]]:
    """Trains, tests, and returns the folder and the card."""
    load = lambda split: _images.load(
        command.source, command.images, split, held_out=command.held_out
    )
    _check_numbers(command)
    source, test = load("train"), load("test")
    if source.num_classes < 2 or int(source.labels.min()) < 0:
        raise FolderError(
            f"{command.source} has no labels to learn, or not for every image. Sort "
            "the pictures into one subfolder a class, or store `labels` beside "
            "`images` in the .npz file."
        )
    if command.batch_size > len(source):
        raise CommandError(
            f"`--batch-size {command.batch_size}` is more than the {len(source)} "
            "images."
        )
    name = _images.data_name(command.source)
    folder = command.folder or Path("runs") / f"classifier_{name}"
    num_steps = max(1, round(command.epochs * len(source) / command.batch_size))
    card = {
        "source": command.source,
        "shape": source.shape,
        "num_classes": source.num_classes,
        "widths": command.widths,
        "num_features": command.num_features,
        "steps": num_steps,
        "batch_size": command.batch_size,
        "learning_rate": command.learning_rate,
        "shift": command.shift,
        "flip": command.flip,
        "seed": command.seed,
    }
    network = ss.nn.Classifier(
        source.shape,
        num_classes=source.num_classes,
        widths=command.widths,
        num_features=command.num_features,
        key=jax.random.key(command.seed),
    )
    transforms: list[grain.transforms.RandomMap] = []
    if command.shift:
        transforms.append(Shift(command.shift))
    if command.flip:
        transforms.append(ss.data.RandomFlip())
    optimiser = ss.train.make_optimiser(
        command.learning_rate,
        schedule="cosine",
        warmup_steps=min(100, num_steps // 10),
        total_steps=num_steps,
        weight_decay=1e-4,
    )
    result = ss.train.fit(
        ss.train.TrainState.create(
            network,
            optimiser,
            key=jax.random.key(command.seed),
        ),
        ss.data.make_loader(
            source, command.batch_size, seed=command.seed, transforms=transforms
        ),
        ss.train.make_train_step(
            loss_fn, optimiser, ema_decay=0.99, mesh=ss.train.make_mesh()
        ),
        num_steps=num_steps,
        folder=folder,
        config=card,
        checkpoint_every=None,
        checkpoint_seconds=60.0,
    )
    classifier = result.state.ema
    logits = ss.metrics.extract_features(classifier, ss.data.to_array(test))
    accuracy = float(np.mean(logits.argmax(axis=1) == ss.data.to_labels(test)))
    card |= {
        "test_accuracy": accuracy,
        "test_images": len(test),
        "seconds": round(result.seconds, 1),
        "commit": _run.commit(),
    }
    ss.models.save_network(folder, classifier, card)
    print(f"test accuracy {accuracy:.2%} on {len(test)} images")
    return folder, card


def _check_numbers(command: Train) -> None:
    for option, value in (
        ("epochs", command.epochs),
        ("batch-size", command.batch_size),
        ("learning-rate", command.learning_rate),
        ("num-features", command.num_features),
    ):
        if not value > 0:
            raise CommandError(f"`--{option}` is {value}; expected more than 0.")
    if command.shift < 0:
        raise CommandError(f"`--shift` is {command.shift}; expected at least 0.")
    _images.check_share(command.held_out, "--")
    devices = jax.device_count()
    if command.batch_size % devices:
        raise CommandError(
            f"`--batch-size` is {command.batch_size}; expected a multiple of "
            f"{devices}, the number of devices that share a batch."
        )


_AS_THEY_ARE = ImagesConfig()


def load(name: str) -> tuple[Any, dict[str, Any]]:
    """The classifier of a folder or a name, and its card.

    **Raises:** `FileNotFoundError` if there is none.
    """
    return ss.models.load_network(name), ss.models.read_card(name)


def find(source: str, images: ImagesConfig = _AS_THEY_ARE) -> str:
    """The classifier of a data set: one that was trained here, or one that is shipped.

    **Raises:** `FileNotFoundError` if there is none; `ValueError` for one that was
    trained on other data of the same file name.
    """
    name = f"classifier_{_images.data_name(source)}"
    words = images.words("--")
    command = _cli.command("experiments.classifier", source, *words)
    folder = Path("runs") / name
    for found in (str(folder), name):
        if found != name and not (folder / "network.json").exists():
            continue
        if found == name and name not in ss.models.network_names():
            continue
        trained_on = ss.models.read_card(found).get("source")
        if trained_on != source:
            raise FolderError(
                f"The classifier in {found} was trained on {trained_on}, and the model "
                f"on {source}. Train another with `{command} --folder FOLDER`, and "
                "give it with `--classifier FOLDER`."
            )
        return found
    raise FolderError(
        f"There is no classifier of {source}: {folder} holds none, and none comes with "
        f"the package. Train one with `{command}`, if the images have labels."
    )


def main() -> None:
    _cli.run(_main)


def _main() -> None:
    command = _cli.parse(Train, "experiments.classifier", __doc__)
    folder, _ = train(command)
    _cli.wrote(folder / "network.json", folder / "metrics.jsonl")
    runs = _run.runs_on(command.source)
    images = command.images.words("--data.")
    _cli.next_commands(
        *(f"python -m experiments.evaluate {run}" for run in runs[:1]),
        *([] if runs else [_cli.train_on(command.source, images)]),
    )


if __name__ == "__main__":
    main()

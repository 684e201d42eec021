"""Train a model: `python -m experiments.train fashion_mnist_blur`.

Writes a run folder, which is also a model: `softsde.load` reads it. You can stop it at
any moment, e.g. with Ctrl-C; the same command goes on where it stopped.
"""

import dataclasses
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import jax
import tyro

import softsde as ss

from . import _build, _cli, _run
from ._config import PRESETS, Config
from ._scale import ScaleConfig


@dataclass(frozen=True)
class Train:
    """Train, or go on training."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    folder: Path
    """The run folder. If it holds a run, that run is resumed."""
    scale: ScaleConfig = field(default_factory=ScaleConfig)


def make_network(config: Config, shape: tuple[int, int, int]) -> tuple[Any, Any]:
    """The network to start from, and the card of the model that it is of, if any.

    **Raises:** `ValueError` if that model has another network than the config.
    """
    new = _build.make_network(config.network, shape)
    if config.training.initial is None:
        return new, None
    model = _run.open_model(config.training.initial)
    network = getattr(model.denoiser, "network", None)
    found = getattr(network, "arguments", None)
    if found != new.arguments:
        raise ValueError(
            f"`--training.initial {config.training.initial}` has a network with the "
            f"arguments\n  {found}\nand the weights are wanted for one with\n  "
            f"{new.arguments}\nAsk for the same `--network` options and images."
        )
    return network, model.card


def train(
    config: Config, folder: Path, scale: ScaleConfig | None = None
) -> ss.train.FitResult:
    """Trains until the config's number of steps, from the state in the folder."""
    began = time.monotonic()
    scale = ScaleConfig() if scale is None else scale
    # Mistakes in a config show here, before anything is written.
    source = _build.make_source(config.data)
    network, initial = make_network(config, source.shape)
    optimiser = _build.make_optimiser(config)
    loader = _build.make_loader(source, config)
    mesh = scale.mesh()
    sampler = config.sampling.sampler
    with ss.train.first_host_first():
        process, prior = _run.start(folder, config, source)
    parameters = _run.count_parameters(network)
    pixels, pad = _run.layout(source.shape)
    _say(
        f"{source}\n{parameters:,} parameters, {mesh.size} {jax.default_backend()} "
        f"device(s), batches of {config.training.batch_size}; writing to {folder}/"
    )

    def make_model(key: Any) -> ss.Denoiser:
        if initial is not None:
            return ss.Denoiser(network, process)
        return ss.Denoiser(_build.new_network(config.network, source.shape), process)

    def keep(state: ss.train.TrainState, step: int) -> None:
        """Writes the averaged model, a picture of its samples, and the loss so far.

        A resumed run may repeat it for the same step: every file is replaced.
        """
        averaged = ss.train.gather(state.ema)
        if not ss.train.is_first_host():
            return
        card = {
            "experiment": folder.name,
            "steps": step,
            "images_seen": step * config.training.batch_size,
            "parameters": parameters,
            "data": config.data.source,
            "size": config.data.size,
            "num_images": len(source),
            "commit": _run.commit(),
            "softsde": ss.__version__,
            "config": dataclasses.asdict(config),
        }
        if initial is not None:
            card["initial"] = initial
        model = ss.Model(averaged, prior, card)
        model.save(folder)
        # Options that may change, such as the number of steps, change here: not before
        # `fit` has made sure that no other command is training in this folder.
        config.save(folder / "config.json")
        ss.plotting.save_grid(
            folder / "samples" / f"step_{step:06d}.png",
            model.sample(
                config.sampling.num, seed=config.sampling.seed, **sampler.options()
            ),
            scale=pixels,
            pad=pad,
            title=f"step {step}: {sampler.label}, uncurated",
        )
        if (folder / "metrics.jsonl").stat().st_size > 0:
            ss.plotting.plot_metrics(folder / "metrics.jsonl", folder / "loss.png")

    result = ss.train.fit(
        ss.train.init_state(
            make_model,
            optimiser,
            key=jax.random.key(config.training.seed),
            mesh=mesh,
        ),
        loader,
        ss.train.make_train_step(
            _build.make_loss(config),
            optimiser,
            ema_decay=config.optimiser.ema_decay,
            accumulate=scale.accumulate,
            mesh=mesh,
        ),
        num_steps=config.training.steps,
        folder=folder,
        config=config.identity(),
        checkpoint_every=None,
        checkpoint_seconds=config.training.checkpoint_seconds,
        log_every=config.training.log_every,
        callbacks=[(config.training.sample_every, keep)],
        max_seconds=config.training.max_seconds,
        **scale.fit_options(),
    )
    missing = ss.train.first_host_says(not (folder / "model.json").exists())
    if result.step % config.training.sample_every or missing:
        keep(result.state, result.step)
    _say(
        f"{result.reason} at step {result.step} of {config.training.steps}: "
        f"{time.monotonic() - began:.0f} s now, {result.seconds:.0f} s in all sessions."
    )
    return result


def _say(message: str) -> None:
    if ss.train.is_first_host():
        print(message)


def main() -> None:
    with _cli.plain_errors():
        defaults = {n: Train(p.config, Path("runs") / n) for n, p in PRESETS.items()}
        command = _cli.parse_preset(defaults, "experiments.train", __doc__)
        command.scale.start()
        result = train(command.config, command.folder, command.scale)
        folder = command.folder
        if not ss.train.is_first_host():
            return
        _cli.wrote(*(folder / n for n in ("model.json", "samples", "loss.png")))
        if result.reason == "out of time":
            _cli.next_commands("the same command again, to go on training")
        else:
            _cli.next_commands(
                f"python -m experiments.sample {folder}",
                f"python -m experiments.evaluate {folder}",
            )


if __name__ == "__main__":
    main()

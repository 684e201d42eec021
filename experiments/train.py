"""Train a model: `python -m experiments.train fashion_mnist_blur`.

Writes a run folder that explains itself. Stop it at any moment, with Ctrl-C too; the
same command goes on where it stopped.
"""

import dataclasses
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import jax
import tyro

import softsde as ss

from . import _build, _cli, _run
from ._config import PRESETS, Config
from ._solvers import SolverConfig


@dataclass(frozen=True)
class Train:
    """Train, or go on training."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    folder: Path
    """The run folder; if it exists, its run is resumed."""


def initial_weights(config: Config, shape: tuple[int, int, int]) -> _run.Model | None:
    """The model whose weights to start from, if the config names one.

    **Raises:** `ValueError` where it is of another network or of other images.
    """
    if config.training.initial is None:
        return None
    model = _run.open_model(config.training.initial)
    kind = dataclasses.replace(model.config.network, seed=config.network.seed)
    if (kind, model.shape) != (config.network, shape):
        raise ValueError(
            f"`--training.initial {config.training.initial}` is a network of "
            f"{model.shape}, {kind}, and cannot start one of {shape}, "
            f"{config.network}. Ask for the same `--network` options."
        )
    return model


def train(config: Config, folder: Path) -> ss.train.FitResult:
    """Trains until the config's number of steps, from wherever the folder stands."""
    began = time.monotonic()
    # What can be wrong with a config shows here, before anything is written.
    source = _build.make_source(config.data)
    initial = initial_weights(config, source.shape)
    network = (
        initial.network
        if initial
        else _build.make_network(config.network, source.shape)
    )
    optimiser = _build.make_optimiser(config)
    loader = _build.make_loader(source, config)
    mesh = ss.train.make_mesh()
    process, prior = _run.start(folder, config, source)
    parameters = _run.count_parameters(network)
    before = {"initial": initial.card} if initial else {}
    scale, pad = _run.layout(source.shape)
    sampler = SolverConfig().completed(config.sampling)
    print(
        f"{source}\n{parameters:,} parameters, {mesh.size} {jax.default_backend()} "
        f"device(s), batches of {config.training.batch_size}; writing to {folder}/"
    )

    def keep(state: ss.train.TrainState, step: int) -> None:
        """The averaged weights, a picture of what they draw, and the loss so far."""
        if jax.process_index() != 0:
            return
        card = {
            "experiment": folder.name,
            "steps": step,
            "images_seen": step * config.training.batch_size,
            "parameters": parameters,
            "data": config.data.source,
            "num_images": len(source),
            "commit": _run.commit(),
            "softsde": ss.__version__,
        } | before
        # Off the mesh, of which this host may hold a part only.
        model = _run.Model(config, process, jax.device_get(state.ema), prior, card)
        _run.write_model(folder, model)
        drawn = model.sample_batch(
            config.sampling.num,
            jax.random.key(config.sampling.seed),
            **sampler.options(process),
        )
        ss.plotting.save_grid(
            folder / "samples" / f"step_{step:06d}.png",
            drawn.x,
            scale=scale,
            pad=pad,
            title=f"step {step}: {sampler.label}, uncurated",
        )
        if (folder / "metrics.jsonl").stat().st_size > 0:
            ss.plotting.plot_metrics(folder / "metrics.jsonl", folder / "loss.png")

    result = ss.train.fit(
        ss.train.TrainState.create(
            network, optimiser, key=jax.random.key(config.training.seed)
        ),
        loader,
        ss.train.make_train_step(
            _build.make_loss(config, process),
            optimiser,
            ema_decay=config.optimiser.ema_decay,
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
    )
    if (
        result.step % config.training.sample_every
        or not (folder / "model.eqx").exists()
    ):
        keep(result.state, result.step)
    print(
        f"{result.reason} at step {result.step} of {config.training.steps}: "
        f"{time.monotonic() - began:.0f} s now, {result.seconds:.0f} s in all sessions."
    )
    return result


def main() -> None:
    with _cli.plain_errors():
        defaults = {n: Train(p.config, Path("runs") / n) for n, p in PRESETS.items()}
        command = _cli.parse_preset(defaults, "experiments.train", __doc__)
        result = train(command.config, command.folder)
        folder = command.folder
        _cli.wrote(*(folder / n for n in ("model.eqx", "samples", "loss.png")))
        if result.reason == "out of time":
            _cli.next_commands("the same command again, to go on training")
        else:
            _cli.next_commands(
                f"python -m experiments.sample {folder}",
                f"python -m experiments.evaluate {folder}",
            )


if __name__ == "__main__":
    main()

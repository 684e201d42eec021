"""Writes what a session of training leaves in the run folder, besides checkpoints."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import equinox as eqx
import jax.numpy as jnp

import softsde as ss

from . import _cli, _images, _pictures, _run
from ._config import Config, to_dict
from ._errors import CommandError, FolderError


@dataclass(frozen=True)
class Session:
    """Writes the model, pictures of its samples, and the curve of the loss."""

    config: Config
    folder: Path
    source: ss.data.AbstractSource
    prior: ss.AbstractPrior
    command: str
    initial: Any

    def keep(self, state: ss.train.TrainState, step: int) -> None:
        """Writes the averaged model, a picture of its samples, and the loss so far.

        A resumed run may repeat it for the same step: every file is replaced. A picture
        that fails costs no training.
        """
        # All hosts take part in this; the first one alone writes.
        averaged = ss.train.gather(state.ema)
        if not ss.train.is_first_host():
            return
        model = self.model(averaged, step)
        model.save(self.folder)
        # Options that may change, such as the number of steps, change here.
        self.config.save(self.folder / "config.json")
        try:
            self.draw(model, self.folder / "samples" / f"step_{step:06d}.png", step)
            if (self.folder / "metrics.jsonl").stat().st_size > 0:
                ss.plotting.plot_metrics(
                    self.folder / "metrics.jsonl", self.folder / "loss.png"
                )
        except Exception as error:
            _cli.say(
                f"\nNo picture at step {step}: {type(error).__name__}: {error}\nThe "
                "model is saved, and training goes on."
            )

    def callbacks(self) -> list[tuple[int, Callable[..., None]]]:
        """Lists what is done while training, with the steps between."""
        found: list[tuple[int, Callable[..., None]]] = [
            (self.config.training.sample_every, self.keep)
        ]
        if self.config.optimiser.sigma_rel:
            averages = ss.train.Snapshots(self.folder / _run.AVERAGES)
            found.append((self.config.optimiser.average_every, averages))
        return found

    def rehearse(
        self,
        make_model: Callable[[], ss.Denoiser],
        state: ss.train.TrainState | None,
    ) -> None:
        """Does everything once that `keep` and the checkpoints will do later.

        Without a `state`, which several hosts make together, the model is one of its
        own, and no checkpoint is tried.

        **Raises:** `FolderError` if the folder cannot take the files; `CommandError` if
        the options cannot be saved or sampled with.
        """
        if not ss.train.is_first_host():
            return
        first = make_model() if state is None else ss.train.gather(state.ema)
        trial = self.folder / _run.TRIAL
        try:
            model = self.model(first, 0)
            model.save(trial)
            self.draw(model, trial / "samples.png", 0)
            if state is not None:
                with ss.train.Checkpointer(trial / "checkpoints") as checkpoints:
                    checkpoints.save(state, None, 0)
        except OSError as error:
            raise FolderError(
                f"{self.folder} does not take the files of the run ({error})."
            ) from error
        except CommandError:
            raise
        except (ValueError, TypeError, RuntimeError, eqx.EquinoxRuntimeError) as error:
            if type(error).__module__.startswith("jax"):
                raise
            raise CommandError(
                f"The run would fail when it draws or saves its first model: {error}"
            ) from error
        finally:
            _run.remove(trial)

    def model(self, denoiser: ss.Denoiser, step: int) -> ss.Model:
        """The model, with a card."""
        config, source = self.config, self.source
        card: dict[str, Any] = {
            "experiment": self.folder.name,
            "command": self.command,
            "steps": step,
            "images_seen": step * config.training.batch_size,
            "parameters": _run.count_parameters(denoiser.network),
            "data": config.data.source,
            "size": config.data.images.size,
            "num_images": len(source),
            "commit": _run.commit(),
            "softsde": ss.__version__,
            "config": to_dict(config),
        }
        if config.condition.labels:
            names = source.class_names
            card["num_classes"] = source.num_classes
            card["class_names"] = None if names is None else list(names)
        split = _images.describe_split(config.data.source, config.data.held_out)
        if split is not None:
            card["held_out"] = split
        if self.initial is not None:
            card["initial"] = self.initial
        return ss.Model(denoiser, self.prior, card)

    def draw(self, model: ss.Model, path: Path, step: int) -> None:
        """Draws a picture of samples."""
        sampling = self.config.sampling
        # The program is that of `experiments.sample`, which then need not compile it.
        images, way = _pictures.draw(
            model,
            sampling.num,
            sampling.sampler.options(),
            seed=sampling.seed,
            condition=_conditions(self.config, self.source, sampling.num),
        )
        title = f"step {step}: {sampling.sampler.label}, uncurated"
        _pictures.save(path, images, way, title)


def _conditions(config: Config, source: ss.data.AbstractSource, num: int) -> Any:
    """The classes of the samples in a picture: each in turn."""
    if not config.condition.labels:
        return None
    return jnp.arange(num, dtype=jnp.int32) % source.num_classes

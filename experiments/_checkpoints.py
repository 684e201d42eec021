"""The models of the checkpoints that a run has kept."""

import functools
from pathlib import Path

import jax

import softsde as ss

from . import _build, _run
from ._errors import FolderError


class KeptModels:
    """The averaged model of each checkpoint of a run folder.

    The folder is only read, so the run may train meanwhile.

    **Raises:** `FolderError` for a model that comes with the package, or a folder
    without checkpoints.
    """

    def __init__(self, run: str):
        self._newest = _run.open_model(run)
        self._folder = Path(run) / "checkpoints"
        if _run.is_shipped(run) or not self._folder.is_dir():
            raise FolderError(
                f"`--checkpoints`: {run} has no checkpoints to compare. Give the "
                "folder of a run of `python -m experiments.train`."
            )
        self._config = _run.read_config(Path(run))
        with self._open() as checkpoints:
            #: The steps of the checkpoints, oldest first.
            self.steps = checkpoints.all_steps()
        if not self.steps:
            raise FolderError(
                f"{self._folder} holds no checkpoint. Train on with `python -m "
                f"experiments.train --resume {run}`."
            )

    def _open(self) -> ss.train.Checkpointer:
        return ss.train.Checkpointer(
            self._folder, config=self._config.of_checkpoints(), read_only=True
        )

    @functools.cached_property
    def _state_like(self) -> ss.train.TrainState:
        """A state as the run has it, but for its values."""
        parts = _build.Parts(self._config, _build.make_source(self._config.data))
        _, carry = parts.loss(self._newest.process)
        # The model that the run wrote has the structure of all its averages.
        return ss.train.init_state(
            lambda _: self._newest.denoiser,
            parts.optimiser(),
            key=jax.random.key(0),
            carry=carry,
            sigma_rel=self._config.optimiser.sigma_rel,
        )

    def model(self, step: int) -> ss.Model:
        """The averaged model of the checkpoint of a step."""
        with self._open() as checkpoints:
            try:
                state, _ = checkpoints.restore(self._state_like, step=step)
            except (ValueError, RuntimeError, OSError) as error:
                raise FolderError(str(error)) from error
        card = {**self._newest.card, "steps": step}
        card["images_seen"] = step * self._config.training.batch_size
        # Restored arrays stand on devices of their own; samples may be drawn on others.
        return ss.Model(ss.train.gather(state.ema), self._newest.prior, card)

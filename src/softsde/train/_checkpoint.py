"""Checkpoints of a whole training run, by orbax.

Each holds the arrays of the state under readable names, and one JSON document: the
configuration, the position in the data, a table of the arrays, and their checksums. A
checkpoint has its final name only when all of it has been written.
"""

import copy
import os
import warnings
from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from .._files import check_local
from ._arrays import checksums, named_arrays, with_arrays
from ._config import flatten_config, plain_config
from ._hosts import is_first_host
from ._keep_best import KeepBest, Scores
from ._lock import lock
from ._position import CheckpointableIterator, own_position, positions
from ._state import TrainState
from ._tree import describe, differences

_FORMAT = 1


class Checkpointer:
    """Saves and restores a [`softsde.train.TrainState`][] and the position in the data.

    **Arguments:**

    - `folder`: the folder of the checkpoints; it is made if absent.
    - `config`: what makes this run differ from others, as a dataclass or dictionary.
        A checkpoint of another configuration is refused. Leave out what may change
        when you resume, such as the number of steps.
    - `keep`: how many of the newest checkpoints to keep; with at least 2 a damaged one
        does not end a run.
    - `keep_every`: also keep the checkpoints whose step is a multiple of this.
    - `keep_best`: also keep this many checkpoints with the smallest scores, which
        `score` gives them.
    - `asynchronous`: return from `save` as soon as the arrays are copied, and write in
        the background. A process that is killed meanwhile leaves the checkpoint before.
    - `read_only`: write nothing and remove nothing, so that the checkpoints of a run
        can be read while it trains. Only one process can have a folder open for
        writing.

    !!! Example

        ```python
        with ss.train.Checkpointer("checkpoints", config=config) as checkpoints:
            checkpoints.save(state, iterator, 1000)
            state, step = checkpoints.restore(state, iterator)
        ```
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        config: Any = None,
        keep: int = 2,
        keep_every: int | None = None,
        keep_best: int = 0,
        asynchronous: bool = True,
        read_only: bool = False,
    ):
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1, got {keep}.")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"`keep_every` must be at least 1, got {keep_every}.")
        if keep_best < 0:
            raise ValueError(f"`keep_best` must be at least 0, got {keep_best}.")
        check_local(folder)
        self.folder = Path(folder).absolute()
        if read_only and not self.folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {self.folder} to read checkpoints from. Give the "
                "folder `checkpoints` of a run."
            )
        self._config = plain_config(config)
        self._read_only = read_only
        self._lock = None if read_only else lock(self.folder)
        kept: list[Any] = [policies.LatestN(keep)]
        if keep_every is not None:
            kept.append(policies.EveryNSteps(keep_every))
        self._scores = Scores(self.folder)
        if keep_best > 0:
            kept.append(KeepBest(self._scores, keep_best))
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                enable_async_checkpointing=asynchronous,
                # Removes what a killed process left half-written.
                cleanup_tmp_directories=not read_only,
            ),
        )

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or `None` if there is none."""
        return self._manager.latest_step()

    def all_steps(self) -> list[int]:
        """The steps of all complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def score(self, step: int, value: float) -> None:
        """Say how good a checkpoint is, e.g. by its Frechet distance: small is good.

        The scores are kept in the folder. They decide what `keep_best` keeps when the
        next checkpoint is saved.
        """
        if self._read_only:
            raise ValueError(f"{self.folder} was opened with `read_only=True`.")
        self._scores.set(step, float(value))

    def best_step(self) -> int | None:
        """The step of the checkpoint with the smallest score, or `None`."""
        there = set(self.all_steps())
        scored = [(s, step) for step, s in self._scores.all().items() if step in there]
        return min(scored)[1] if scored else None

    def about(self, step: int) -> dict[str, Any]:
        """The JSON document of a checkpoint, with its `"config"` and your `"extra"`."""
        args = ocp.args.Composite(about=ocp.args.JsonRestore())
        return self._manager.restore(step, args=args)["about"]

    def save(
        self,
        state: TrainState,
        iterator: CheckpointableIterator | None,
        step: int,
        *,
        extra: dict[str, Any] | None = None,
    ) -> None:
        """Save the state, the position in the data, and other data that JSON can hold.

        **Arguments:**

        - `state`: it may be consumed by the next step as soon as this returns.
        - `iterator`: the data iterator, or `None`.
        - `step`: the name of the checkpoint.
        - `extra`: returned by `about(step)["extra"]`, as it is now.
        """
        if self._read_only:
            raise ValueError(f"{self.folder} was opened with `read_only=True`.")
        arrays = named_arrays(state)
        about = {
            "format": _FORMAT,
            "step": step,
            "config": self._config,
            "arrays": describe(arrays),
            "checksums": checksums(arrays),
            "iterator": positions(iterator),
            # A copy, because it is written in the background while the caller goes on.
            "extra": copy.deepcopy(extra or {}),
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays), about=ocp.args.JsonSave(about)
            ),
            force=True,
        )

    def restore(
        self,
        state_like: TrainState,
        iterator: CheckpointableIterator | None = None,
        *,
        step: int | None = None,
    ) -> tuple[TrainState, int]:
        """Restore the newest checkpoint that is whole, or that of a step.

        A damaged one is skipped with a warning, and renamed to `damaged-<step>`.

        **Arguments:**

        - `state_like`: a state of the same structure. Its values are not read; the
            restored arrays are placed on the devices of its arrays, whatever devices
            the checkpoint was written on.
        - `iterator`: is moved to its saved position; `None` leaves the data alone.
        - `step`: the step of one checkpoint, out of `all_steps`; no other is taken in
            its place if it is damaged.

        **Returns:**

        The state and its step.

        **Raises:** `FileNotFoundError` if there is no checkpoint; `ValueError` if it
        belongs to another configuration or another model, with all differences;
        `RuntimeError` if every checkpoint is damaged.
        """
        damaged: dict[int, str] = {}
        steps = self.all_steps()
        if step is not None:
            if step not in steps:
                raise FileNotFoundError(
                    f"There is no checkpoint of step {step} in {self.folder}; there "
                    f"are those of {', '.join(map(str, steps)) or 'no step'}."
                )
            steps = [step]
        for step in reversed(steps):
            try:
                about = self.about(step)
                config, table = about["config"], about["arrays"]
                sums, places = about["checksums"], about["iterator"]
            except Exception as e:
                damaged[step] = _reason("its description", e)
                continue
            self._check_config(step, config)
            self._check_arrays(step, table, state_like)
            try:
                state = self._read(step, state_like, sums)
            except Exception as e:
                damaged[step] = _reason("its arrays", e)
                continue
            if iterator is not None:
                iterator.set_state(own_position(places, step))
            if damaged:
                warnings.warn(
                    f"Damaged checkpoints in {self.folder}: {_listed(damaged)}. Went "
                    f"back to step {step}. {self._put_aside(list(damaged))}",
                    stacklevel=2,
                )
            return state, step
        if damaged:
            raise RuntimeError(
                f"Every checkpoint in {self.folder} is damaged: {_listed(damaged)}. "
                "Restore the folder from a copy, or move it away to start anew."
            )
        raise FileNotFoundError(
            f"There is no checkpoint in {self.folder}. Train first, or give the folder "
            "`checkpoints` of a run."
        )

    def wait(self) -> None:
        """Wait until all is on the disk, and raise the error if a save has failed."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the last save, and release the folder."""
        self._manager.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _read(self, step: int, like: TrainState, sums: dict[str, int]) -> Any:
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, named_arrays(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        arrays = self._manager.restore(step, args=args)["state"]
        found = checksums(arrays)
        both = found.keys() & sums.keys()
        wrong = sorted(name for name in both if found[name] != sums[name])
        if wrong:
            raise ValueError(f"wrong checksum of {', '.join(wrong[:5])}")
        return with_arrays(like, arrays)

    def _check_config(self, step: int, config: Any) -> None:
        wrong = differences(
            flatten_config(config),
            flatten_config(self._config),
            "in the checkpoint",
            "asked for",
        )
        if wrong:
            raise ValueError(
                f"The checkpoint of step {step} in {self.folder} belongs to another "
                f"configuration:\n{wrong}\nAsk for the same configuration to go on "
                "with this run, or choose another folder for a new one."
            )

    def _check_arrays(self, step: int, table: Any, like: TrainState) -> None:
        wrong = differences(
            table, describe(named_arrays(like)), "in the checkpoint", "in the state"
        )
        if wrong:
            raise ValueError(
                f"The checkpoint of step {step} in {self.folder} holds other arrays "
                f"than the state:\n{wrong}\nThe model or the optimiser has changed "
                "since it was written. Build them as they were, or choose another "
                "folder."
            )

    def _put_aside(self, steps: list[int]) -> str:
        """Rename damaged checkpoints, because the run will save their steps again."""
        if self._read_only:
            return ""
        if is_first_host():
            for step in steps:
                target = self.folder / f"damaged-{step}"
                while target.exists():
                    target = target.with_name(f"{target.name}-again")
                os.replace(self.folder / str(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("softsde: damaged ones put aside")
        self._manager.reload()
        return "The damaged ones are kept as `damaged-<step>`."


def _reason(what: str, e: Exception) -> str:
    """Why a checkpoint counts as damaged.

    Errors that say nothing about the files, such as too little memory, are raised.
    """
    if isinstance(e, PermissionError | MemoryError | jax.errors.JaxRuntimeError):
        raise e
    text = " ".join(str(e).split())
    return f"{what} cannot be read ({type(e).__name__}: {text[:200]})"


def _listed(damaged: dict[int, str]) -> str:
    return "; ".join(f"step {step}, {reason}" for step, reason in damaged.items())

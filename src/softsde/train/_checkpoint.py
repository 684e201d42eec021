"""Checkpoints of a whole training run, by orbax.

Each holds the arrays of the state under readable names, and one JSON document: the
configuration, the position in the data, a table of the arrays, and a checksum of them.
A checkpoint exists under its final name only when all of it has been written.
"""

import logging
import os
import warnings
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from ._state import TrainState
from ._tree import describe, differences, flatten_config, named_leaves, plain_config

_FORMAT = 1


@runtime_checkable
class CheckpointableIterator(Protocol):
    """An iterator that can say where it is, and go there; those of grain can."""

    def __iter__(self) -> Any: ...

    def __next__(self) -> Any: ...

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...


class Checkpointer:
    """Saves and restores a [`softsde.train.TrainState`][] and the position in the data.

    **Arguments:**

    - `folder`: where the checkpoints lie; made if absent.
    - `config`: what makes this run different from others, as a dataclass or a
        dictionary. A checkpoint of another one is refused. Leave out what may change
        between a stop and a resumption, such as the number of steps.
    - `keep`: how many of the newest checkpoints to keep; with at least 2 a damaged one
        does not end a run.
    - `keep_every`: also keep those whose step is a multiple of this.
    - `asynchronous`: return from `save` as soon as the arrays are copied, and write in
        the background. A process killed meanwhile leaves the checkpoint before.

    !!! Example

        ```python
        with ss.train.Checkpointer("runs/blur/checkpoints", config=config) as
        checkpoints:
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
        asynchronous: bool = True,
    ):
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1, got {keep}.")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"`keep_every` must be at least 1, got {keep_every}.")
        self.folder = Path(folder).absolute()
        self._config = plain_config(config)
        kept: list[Any] = [policies.LatestN(keep)]
        if keep_every is not None:
            kept.append(policies.EveryNSteps(keep_every))
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                enable_async_checkpointing=asynchronous,
                cleanup_tmp_directories=True,
            ),
        )

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or `None` if there is none."""
        return self._manager.latest_step()

    def all_steps(self) -> list[int]:
        """The steps of all complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

    def about(self, step: int) -> dict[str, Any]:
        """The JSON document of a checkpoint: `config`, `iterator`, `extra`, ..."""
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
        """Save the state, the position in the data, and anything else that JSON can hold.

        **Arguments:**

        - `state`: it may be donated to the next step as soon as this returns.
        - `iterator`: the data iterator, or `None`.
        - `step`: the name of the checkpoint.
        - `extra`: found again in `about(step)["extra"]`.
        """
        arrays = _arrays(state)
        about = {
            "format": _FORMAT,
            "step": step,
            "config": self._config,
            "arrays": describe(arrays),
            "checksums": _checksums(arrays),
            "iterator": _gather(iterator),
            "extra": extra or {},
        }
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(arrays),
                about=ocp.args.JsonSave(about),
            ),
            force=True,
        )

    def restore(
        self, state_like: TrainState, iterator: CheckpointableIterator | None = None
    ) -> tuple[TrainState, int]:
        """Restore the newest checkpoint that is whole.

        A damaged one is passed over with a warning and put aside under another name.

        **Arguments:**

        - `state_like`: a state of the same structure. Its values are not read; the
            restored arrays are laid out over devices as its are, whatever devices the
            checkpoint was written on.
        - `iterator`: moved to where it was, or `None` to leave the data alone.

        **Returns:**

        The state and its step.

        Raises `FileNotFoundError` if there is no checkpoint, `ValueError` if it belongs
        to another configuration or another model, with all differences, and
        `RuntimeError` if every checkpoint is damaged.
        """
        damaged: list[tuple[int, str]] = []
        for step in reversed(self.all_steps()):
            try:
                about = self.about(step)
                saved = {k: about[k] for k in ("config", "arrays", "iterator")}
            except Exception as e:
                _raise_if_environmental(e)
                damaged.append((step, f"its description cannot be read: {_brief(e)}"))
                continue
            self._check_config(step, saved["config"])
            self._check_arrays(step, saved["arrays"], state_like)
            try:
                state = self._read(step, state_like, about["checksums"])
            except Exception as e:
                _raise_if_environmental(e)
                damaged.append((step, f"its arrays cannot be read: {_brief(e)}"))
                continue
            if iterator is not None:
                iterator.set_state(_own(saved["iterator"], step))
            if damaged:
                self._put_aside([bad for bad, _ in damaged])
                reasons = "; ".join(f"step {bad}: {why}" for bad, why in damaged)
                warnings.warn(
                    f"Damaged checkpoint in {self.folder} ({reasons}). Went back to step "
                    f"{step}; what was damaged is kept as `damaged-<step>`.",
                    stacklevel=2,
                )
            return state, step
        if damaged:
            raise RuntimeError(
                f"Every checkpoint in {self.folder} is damaged: "
                + "; ".join(f"step {bad}: {why}" for bad, why in damaged)
                + ". Restore the folder from a copy, or move it away to start anew."
            )
        raise FileNotFoundError(
            f"There is no checkpoint in {self.folder}. Train first, or give the folder "
            "`checkpoints` of a run."
        )

    def wait(self) -> None:
        """Wait until what is being saved is on the disk, and raise what went wrong."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the last save and let go of the folder."""
        self._manager.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _read(self, step: int, like: TrainState, checksums: dict[str, int]) -> Any:
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        arrays = self._manager.restore(step, args=args)["state"]
        found = _checksums(arrays)
        wrong = [name for name, value in checksums.items() if found.get(name) != value]
        if wrong:
            raise ValueError(f"wrong checksum of {', '.join(wrong[:5])}")
        return _with_arrays(like, arrays)

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
                f"configuration:\n{wrong}\nAsk for the same configuration to go on with "
                "this run, or choose another folder for a new one."
            )

    def _check_arrays(self, step: int, saved: dict, like: TrainState) -> None:
        wrong = differences(
            saved, describe(_arrays(like)), "in the checkpoint", "in the state"
        )
        if wrong:
            raise ValueError(
                f"The checkpoint of step {step} in {self.folder} holds other arrays than "
                f"the state:\n{wrong}\nThe model or the optimiser has changed since it "
                "was written. Build them as they were, or choose another folder."
            )

    def _put_aside(self, steps: list[int]) -> None:
        """Rename damaged checkpoints, lest the run stumbles over them when it returns."""
        if jax.process_index() == 0:
            for step in steps:
                target = self.folder / f"damaged-{step}"
                while target.exists():
                    target = target.with_name(target.name + "-again")
                os.replace(self.folder / str(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices(
                "softsde: damaged checkpoints put aside"
            )
        self._manager.reload()


def _arrays(state: TrainState) -> dict[str, jax.Array]:
    """The arrays of the state by name; keys as their data, and none of no elements.

    orbax saves neither.
    """
    return {
        name: jax.random.key_data(x) if _is_key(x) else x
        for name, x in named_leaves(state).items()
        if eqx.is_array(x) and x.size > 0
    }


def _with_arrays(like: TrainState, arrays: dict[str, jax.Array]) -> TrainState:
    def put(path, old):
        name = jax.tree_util.keystr(path)
        if name not in arrays:
            return old
        if _is_key(old):
            impl = jax.random.key_impl(old)
            return jax.random.wrap_key_data(arrays[name], impl=impl)
        return arrays[name]

    return jax.tree_util.tree_map_with_path(put, like)


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _checksums(arrays: dict[str, jax.Array]) -> dict[str, int]:
    """A checksum of each array that does not depend on how it is split over devices.

    The sum modulo 2^32 of the array's words, each times an odd number made of its
    position: integer sums are exact in any order, so a run that is resumed on another
    number of devices finds the same.
    """
    sums = jax.device_get(_jitted_checksums(arrays))
    return {name: int(value) for name, value in sums.items()}


@jax.jit
def _jitted_checksums(arrays):
    def checksum(x):
        if x.dtype == jnp.bool_:
            x = x.astype(jnp.uint8)
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            x = jnp.stack([x.real, x.imag])
        size = min(x.dtype.itemsize, 4)
        words = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * size}"))
        words = words.astype(jnp.uint32).reshape(-1)
        odd = jax.lax.iota(jnp.uint32, words.size) * jnp.uint32(2654435761)
        return jnp.sum(words * (odd | jnp.uint32(1)), dtype=jnp.uint32)

    return jax.tree.map(checksum, arrays)


def _gather(iterator: CheckpointableIterator | None) -> list[Any] | None:
    """The positions of the iterators of all hosts, as JSON can hold them."""
    if iterator is None:
        return None
    state = iterator.get_state()
    if isinstance(state, bytes):
        state = {"bytes": state.decode("latin-1")}
    own = plain_config({"state": state})
    if jax.process_count() == 1:
        return [own]
    import json

    data = np.frombuffer(json.dumps(own).encode(), np.uint8)
    longest = int(np.max(multihost_utils.process_allgather(np.asarray(data.size))))
    padded = np.full(longest, ord(" "), np.uint8)
    padded[: data.size] = data
    everyone = multihost_utils.process_allgather(padded)
    return [json.loads(bytes(row)) for row in everyone]


def _own(states: list[Any] | None, step: int) -> Any:
    """This host's part of what `_gather` made."""
    if states is None:
        raise ValueError(
            f"The checkpoint of step {step} was saved without a data iterator, but one is "
            "to be restored. Pass `iterator=None`."
        )
    if len(states) == jax.process_count():
        state = states[jax.process_index()]["state"]
    elif all(state == states[0] for state in states):
        state = states[0]["state"]
    else:
        raise ValueError(
            f"The checkpoint of step {step} was written by {len(states)} hosts whose "
            f"positions in the data differ; it cannot be resumed on "
            f"{jax.process_count()}."
        )
    if isinstance(state, dict) and state.keys() == {"bytes"}:
        return state["bytes"].encode("latin-1")
    return state


def _raise_if_environmental(e: Exception) -> None:
    """What a second try could mend is no damage of the checkpoint."""
    if isinstance(e, PermissionError | MemoryError | jax.errors.JaxRuntimeError):
        raise e


def _brief(e: Exception) -> str:
    text = " ".join(str(e).split())
    return f"{type(e).__name__}: {text[:200]}"


# orbax reports each thing it does; what a user must know is said by this module.
logging.getLogger("absl").setLevel(logging.ERROR)

"""Checkpoints of a whole training run, by orbax.

Each holds the arrays of the state under readable names, and one JSON document: the
configuration, the position in the data, a table of the arrays, and their checksums. A
checkpoint has its final name only when all of it has been written.
"""

import copy
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import IO, Any, Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from orbax.checkpoint import checkpoint_managers as policies

from ._state import TrainState
from ._tree import describe, differences, flatten_config, named_leaves, plain_config

try:
    import fcntl
except ImportError:  # Windows has none.
    fcntl = None

_FORMAT = 1


@runtime_checkable
class CheckpointableIterator(Protocol):
    """An iterator that can say where it is, and go there; those of grain can."""

    def __iter__(self) -> Any: ...

    def __next__(self) -> Any: ...

    def get_state(self) -> Any:
        """The position, as data that JSON can hold, or bytes."""
        ...

    def set_state(self, state: Any, /) -> None:
        """Goes to a position that `get_state` told."""
        ...


class Checkpointer:
    """Saves and restores a [`softsde.train.TrainState`][] and the position in the data.

    **Arguments:**

    - `folder`: where the checkpoints lie; made if absent.
    - `config`: what makes this run differ from others, as a dataclass or dictionary.
        A checkpoint of another one is refused. Leave out what may change between a
        stop and a resumption, such as the number of steps.
    - `keep`: how many of the newest checkpoints to keep; with at least 2 a damaged one
        does not end a run.
    - `keep_every`: also keep those whose step is a multiple of this.
    - `asynchronous`: return from `save` as soon as the arrays are copied, and write in
        the background. A process killed meanwhile leaves the checkpoint before.
    - `read_only`: neither write nor tidy up, so that the checkpoints of a run can be
        read while it trains. Only one process can have a folder open for writing.

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
        asynchronous: bool = True,
        read_only: bool = False,
    ):
        if keep < 1:
            raise ValueError(f"`keep` must be at least 1, got {keep}.")
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"`keep_every` must be at least 1, got {keep_every}.")
        self.folder = Path(folder).absolute()
        if read_only and not self.folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {self.folder} to read checkpoints from. Give the "
                "folder `checkpoints` of a run."
            )
        self._config = plain_config(config)
        self._read_only = read_only
        self._lock = None if read_only else _lock(self.folder)
        kept: list[Any] = [policies.LatestN(keep)]
        if keep_every is not None:
            kept.append(policies.EveryNSteps(keep_every))
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=ocp.CheckpointManagerOptions(
                preservation_policy=policies.AnyPreservationPolicy(kept),
                enable_async_checkpointing=asynchronous,
                # What a killed process left half-written.
                cleanup_tmp_directories=not read_only,
            ),
        )

    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, or `None` if there is none."""
        return self._manager.latest_step()

    def all_steps(self) -> list[int]:
        """The steps of all complete checkpoints, oldest first."""
        return sorted(self._manager.all_steps())

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
        """Save the state, the position in the data, and whatever else JSON can hold.

        **Arguments:**

        - `state`: it may be consumed by the next step as soon as this returns.
        - `iterator`: the data iterator, or `None`.
        - `step`: the name of the checkpoint.
        - `extra`: found again as `about(step)["extra"]`, as it is now.
        """
        if self._read_only:
            raise ValueError(f"{self.folder} was opened with `read_only=True`.")
        arrays = _arrays(state)
        about = {
            "format": _FORMAT,
            "step": step,
            "config": self._config,
            "arrays": describe(arrays),
            "checksums": _checksums(arrays),
            "iterator": _positions(iterator),
            # A copy: it is written in the background, and the caller goes on.
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
        self, state_like: TrainState, iterator: CheckpointableIterator | None = None
    ) -> tuple[TrainState, int]:
        """Restore the newest checkpoint that is whole.

        A damaged one is passed over with a warning and put aside under another name.

        **Arguments:**

        - `state_like`: a state of the same structure. Its values are not read; the
            restored arrays are laid out over the devices as its are, whatever devices
            the checkpoint was written on.
        - `iterator`: moved to where it was, or `None` to leave the data alone.

        **Returns:**

        The state and its step.

        Raises `FileNotFoundError` if there is no checkpoint, `ValueError` if it belongs
        to another configuration or another model, with all differences, and
        `RuntimeError` if every checkpoint is damaged.
        """
        damaged: dict[int, str] = {}
        for step in reversed(self.all_steps()):
            try:
                about = self.about(step)
                config, table = about["config"], about["arrays"]
                checksums, positions = about["checksums"], about["iterator"]
            except Exception as e:
                damaged[step] = _reason("its description", e)
                continue
            self._check_config(step, config)
            self._check_arrays(step, table, state_like)
            try:
                state = self._read(step, state_like, checksums)
            except Exception as e:
                damaged[step] = _reason("its arrays", e)
                continue
            if iterator is not None:
                iterator.set_state(_own_position(positions, step))
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
        """Wait until what is being saved is on the disk, and raise what went wrong."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Wait for the last save and let go of the folder."""
        self._manager.close()
        if self._lock is not None:
            self._lock.close()

    def __enter__(self) -> "Checkpointer":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def _read(self, step: int, like: TrainState, checksums: dict[str, int]) -> Any:
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _arrays(like))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(wanted))
        arrays = self._manager.restore(step, args=args)["state"]
        found = _checksums(arrays)
        both = found.keys() & checksums.keys()
        wrong = sorted(name for name in both if found[name] != checksums[name])
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
                f"configuration:\n{wrong}\nAsk for the same configuration to go on "
                "with this run, or choose another folder for a new one."
            )

    def _check_arrays(self, step: int, table: Any, like: TrainState) -> None:
        wrong = differences(
            table, describe(_arrays(like)), "in the checkpoint", "in the state"
        )
        if wrong:
            raise ValueError(
                f"The checkpoint of step {step} in {self.folder} holds other arrays "
                f"than the state:\n{wrong}\nThe model or the optimiser has changed "
                "since it was written. Build them as they were, or choose another "
                "folder."
            )

    def _put_aside(self, steps: list[int]) -> str:
        """Rename damaged checkpoints, for the run will come to their steps again."""
        if self._read_only:
            return ""
        if jax.process_index() == 0:
            for step in steps:
                target = self.folder / f"damaged-{step}"
                while target.exists():
                    target = target.with_name(f"{target.name}-again")
                os.replace(self.folder / str(step), target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("softsde: damaged ones put aside")
        self._manager.reload()
        return "What was damaged is kept as `damaged-<step>`."


def _lock(folder: Path) -> IO | None:
    """A lock on the folder that ends with the process, however it ends."""
    if fcntl is None or jax.process_index() != 0:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    file = open(folder / ".lock", "w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise RuntimeError(
            f"{folder} is in use: a run is writing its checkpoints there. Wait for it, "
            "stop it, or choose another folder; `Checkpointer(..., read_only=True)` "
            "reads along."
        ) from None
    except OSError:
        pass  # A file system without locks.
    return file


def _arrays(state: TrainState) -> dict[str, jax.Array]:
    """The arrays of the state by name, but for what orbax cannot save.

    Keys are given as their data; arrays without elements are left out.
    """
    return {
        name: jax.random.key_data(x) if _is_key(x) else jnp.asarray(x)
        for name, x in named_leaves(state).items()
        if eqx.is_array(x) and x.size > 0
    }


def _with_arrays(like: TrainState, arrays: dict[str, jax.Array]) -> TrainState:
    """The inverse of `_arrays`."""

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
    """The CRC-32 of each array of which this host has the whole.

    The storage below notices what is missing, but not reliably what was altered: of
    sixty bits flipped in its data files it reported thirteen, and read twenty-nine as
    other numbers.
    """
    return {
        name: zlib.crc32(np.asarray(x).tobytes())
        for name, x in arrays.items()
        if x.is_fully_addressable or x.is_fully_replicated
    }


def _positions(iterator: CheckpointableIterator | None) -> list[Any] | None:
    """The positions of the iterators of all hosts, as JSON can hold them."""
    if iterator is None:
        return None
    state = iterator.get_state()
    if isinstance(state, bytes):
        state = {"bytes": state.decode("latin-1")}
    text = json.dumps(plain_config(state))
    if jax.process_count() == 1:
        return [json.loads(text)]
    data = np.frombuffer(text.encode(), np.uint8)
    longest = int(np.max(multihost_utils.process_allgather(np.asarray(data.size))))
    padded = np.full(longest, ord(" "), np.uint8)
    padded[: data.size] = data
    return [json.loads(bytes(x)) for x in multihost_utils.process_allgather(padded)]


def _own_position(positions: list[Any] | None, step: int) -> Any:
    """This host's part of `_positions`, as its iterator gave it."""
    if positions is None:
        raise ValueError(
            f"The checkpoint of step {step} was saved without a data iterator, but one "
            "is to be restored. Pass `iterator=None`."
        )
    if len(positions) == jax.process_count():
        state = positions[jax.process_index()]
    elif all(position == positions[0] for position in positions):
        state = positions[0]
    else:
        raise ValueError(
            f"The checkpoint of step {step} was written by {len(positions)} hosts at "
            "different positions in the data, so it cannot be resumed on "
            f"{jax.process_count()}. Use as many hosts."
        )
    if isinstance(state, dict) and state.keys() == {"bytes"}:
        return state["bytes"].encode("latin-1")
    return state


def _reason(what: str, e: Exception) -> str:
    """Why a checkpoint counts as damaged; raises what another try could mend."""
    if isinstance(e, PermissionError | MemoryError | jax.errors.JaxRuntimeError):
        raise e
    text = " ".join(str(e).split())
    return f"{what} cannot be read ({type(e).__name__}: {text[:200]})"


def _listed(damaged: dict[int, str]) -> str:
    return "; ".join(f"step {step}, {reason}" for step, reason in damaged.items())

"""The position in the data, of every host, as JSON."""

import json
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np
from jax.experimental import multihost_utils

from ._config import plain_config


@runtime_checkable
class CheckpointableIterator(Protocol):
    """An iterator that tells its position and can go back to it, as grain's do."""

    def __iter__(self) -> Any: ...

    def __next__(self) -> Any: ...

    def get_state(self) -> Any:
        """The position, as bytes or as data that JSON can hold."""
        ...

    def set_state(self, state: Any, /) -> None:
        """Goes to a position that `get_state` returned."""
        ...


def positions(iterator: CheckpointableIterator | None) -> list[Any] | None:
    """The positions of the iterators of all hosts, as JSON can hold them."""
    if iterator is None:
        return None
    state = iterator.get_state()
    if isinstance(state, bytes):
        state = {"bytes": state.decode("latin-1")}
    text = json.dumps(plain_config(state))
    if jax.process_count() == 1:
        return [json.loads(text)]
    # Arrays of one length are all that hosts can exchange: pad with spaces.
    data = np.frombuffer(text.encode(), np.uint8)
    longest = int(np.max(multihost_utils.process_allgather(np.asarray(data.size))))
    padded = np.full(longest, ord(" "), np.uint8)
    padded[: data.size] = data
    return [json.loads(bytes(x)) for x in multihost_utils.process_allgather(padded)]


def own_position(positions: list[Any] | None, step: int) -> Any:
    """This host's part of `positions`, as its iterator gave it."""
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

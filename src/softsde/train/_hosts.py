"""Decisions that all hosts must take alike."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_host() -> bool:
    """Tells whether this host is the one that writes the files of a run."""
    return jax.process_index() == 0


def agree(*flags: Any, at: bool = True) -> list[bool]:
    """For each flag, whether any host raises it.

    Clocks, signals and exceptions differ between hosts, yet all must do the same at the
    same step. Each question costs a round trip, so the hosts ask only where `at` is
    true, and take every flag as lowered elsewhere. A lone host need not ask.
    """
    own = [bool(flag) for flag in flags]
    if jax.process_count() == 1:
        return own
    if not at:
        return [False] * len(own)
    everyone = multihost_utils.process_allgather(np.asarray(own))
    return [bool(flag) for flag in np.any(everyone, axis=0)]


@contextlib.contextmanager
def first_host_first() -> Iterator[None]:
    """The first host runs the block before the others, which wait for it.

    So the first one makes files in a shared folder, and the others find them there.
    Every host enters the block, and comes to its end also if the first one failed.

    !!! Example

        ```python
        with ss.train.first_host_first():
            source = ss.data.digits()
        ```
    """
    if jax.process_count() > 1 and not is_first_host():
        multihost_utils.sync_global_devices("softsde: the first host goes first")
    try:
        yield
    finally:
        if jax.process_count() > 1 and is_first_host():
            multihost_utils.sync_global_devices("softsde: the first host goes first")


def first_host_says(flag: bool) -> bool:
    """Returns the first host's value on every host. All of them must call it."""
    if jax.process_count() == 1:
        return bool(flag)
    return bool(multihost_utils.broadcast_one_to_all(np.asarray(flag)))

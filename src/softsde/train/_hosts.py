"""Decisions that all hosts must take alike."""

from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first_host() -> bool:
    """Whether this host is the one that writes the files of a run."""
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

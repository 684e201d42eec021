"""What a command asks of a machine without accelerators: all cores, and its memory."""

import contextlib
import ctypes
import os
import sys

import jax

_FLAG = "--xla_force_host_platform_device_count"

#: Options of `mallopt`, as glibc's header numbers them.
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8


def use_cores() -> None:
    """Makes the CPU look like several devices, over which batches are split.

    A small network on a CPU trains little faster with many cores than with one, because
    XLA runs it on one device. Two devices on two cores train nearly three times as
    fast. It has no effect once JAX runs, or if the user has chosen a number.
    """
    if _FLAG in os.environ.get("XLA_FLAGS", ""):
        return
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        # Only Linux says how many of the cores this process may use.
        cores = os.cpu_count() or 1
    with contextlib.suppress(RuntimeError):
        # A power of two, because batches are split evenly.
        jax.config.update("jax_num_cpu_devices", 1 << (cores.bit_length() - 1))


def keep_memory() -> None:
    """Makes this process keep the memory that it frees, for its next use.

    XLA allocates the intermediate values of every step anew. By default glibc gives
    such large blocks back, and Linux hands them out again page by page, each cleared:
    a seventh of the time of a training step on a CPU. It has no effect where the
    environment says how to allocate, or without glibc.
    """
    chosen = any(name.startswith("MALLOC_") for name in os.environ)
    if chosen or "glibc.malloc" in os.environ.get("GLIBC_TUNABLES", ""):
        return
    if sys.platform != "linux":
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return
    mallopt(_MMAP_MAX, 0)
    mallopt(_TRIM_THRESHOLD, 2**31 - 1)
    # Only the first arena can hold blocks as large as these.
    mallopt(_ARENA_MAX, 1)

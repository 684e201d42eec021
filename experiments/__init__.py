"""Experiments: thin commands over the library, each of which writes to a folder.

A small network on a CPU trains little faster with many cores than with one, because
XLA runs it on one device. So these commands make the CPU look like several devices and
split every batch over them, which is nearly three times as fast. JAX must be told
before it starts, so it is done here.
"""

import os as _os

_FLAG = "--xla_force_host_platform_device_count"


def _spread_over_cores() -> None:
    """One host device a core, unless the user has chosen a number."""
    flags = _os.environ.get("XLA_FLAGS", "")
    if _FLAG in flags:
        return
    try:
        cores = len(_os.sched_getaffinity(0))
    except AttributeError:
        # Only Linux says how many of the cores this process may use.
        cores = _os.cpu_count() or 1
    # A power of two, because batches are split evenly.
    devices = 1 << (cores.bit_length() - 1)
    _os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}={devices}".strip()


_spread_over_cores()

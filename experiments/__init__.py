"""Experiments: thin commands over the library, each of which writes a run folder.

XLA runs a small network on one CPU device little faster with many cores than with one,
so a CPU is made to look like several devices, over which every batch is spread; this
nearly triples the speed of training. It has to be said before jax starts, hence here.
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
        # Only Linux says how many of the cores are ours.
        cores = _os.cpu_count() or 1
    # A power of two, for batches are split evenly.
    devices = 1 << (cores.bit_length() - 1)
    _os.environ["XLA_FLAGS"] = f"{flags} {_FLAG}={devices}".strip()


_spread_over_cores()

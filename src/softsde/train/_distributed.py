"""Several processes as one: `jax.distributed`, started before any device is used."""

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

import jax

# Variables that a launcher sets for each of its processes.
_SLURM = ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST")
_TPU = ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID")


def start_hosts(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
    *,
    timeout_seconds: int = 300,
) -> bool:
    """Join the processes of a job, so that JAX sees the devices of all of them.

    Call it first in a program, before anything touches a device; every process of the
    job calls it. Without arguments it looks for a job in the environment: `srun` with
    more than one task, or a TPU slice with more than one host. On a single machine it
    does nothing, so a program may always call it.

    **Arguments:**

    - `coordinator`: address and port of the first process, such as
        `"10.0.0.1:1234"`. The three arguments are given together, or none of them.
    - `num_processes`: how many processes the job has.
    - `process_id`: the number of this process, from 0.
    - `timeout_seconds`: how long to wait for the other processes.

    **Returns:**

    Whether there are several processes.

    **Raises:** `ValueError` if some of the three arguments are missing or out of range;
    `RuntimeError` from JAX if a device has been used before, or if the other processes
    do not come.

    !!! Example

        ```python
        ss.train.start_hosts()
        mesh = ss.train.make_mesh()
        ```
    """
    given = (coordinator, num_processes, process_id)
    if any(x is not None for x in given):
        _check(coordinator, num_processes, process_id)
    elif not job_in(os.environ):
        return False
    if jax.distributed.is_initialized():
        return jax.process_count() > 1
    # Has an effect on CPU devices only, which otherwise cannot talk to other hosts.
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator, num_processes, process_id, initialization_timeout=timeout_seconds
    )
    return jax.process_count() > 1


def job_in(environment: Mapping[str, str]) -> str | None:
    """The kind of job with several processes that the environment describes.

    **Returns:** `"slurm"`, `"tpu"`, `"jax"` (by JAX's own variable for the
    coordinator), or `None`.
    """
    if environment.get("JAX_COORDINATOR_ADDRESS"):
        return "jax"
    if all(name in environment for name in _SLURM):
        return "slurm" if int(environment["SLURM_NTASKS"]) > 1 else None
    if all(name in environment for name in _TPU):
        return "tpu" if "," in environment["TPU_WORKER_HOSTNAMES"] else None
    if environment.get("JAX_PLATFORMS", "tpu").startswith("tpu") and _has_tpu():
        # A TPU VM may describe its slice in its metadata only, which JAX reads.
        return "tpu"
    return None


def _has_tpu() -> bool:
    chips = [*Path("/dev").glob("accel[0-9]*"), *Path("/dev/vfio").glob("[0-9]*")]
    return bool(chips) and importlib.util.find_spec("libtpu") is not None


def _check(
    coordinator: str | None, num_processes: int | None, process_id: int | None
) -> None:
    got = (
        f"`coordinator={coordinator!r}`, `num_processes={num_processes}`, "
        f"`process_id={process_id}`"
    )
    if coordinator is None or num_processes is None or process_id is None:
        raise ValueError(
            f"`coordinator`, `num_processes` and `process_id` are given together; got "
            f"{got}. Under Slurm and on a TPU slice leave out all three."
        )
    if ":" not in coordinator:
        raise ValueError(
            f"`coordinator` is an address and a port, such as '10.0.0.1:1234'; got "
            f"{coordinator!r}."
        )
    if not 0 <= process_id < num_processes:
        raise ValueError(
            f"`process_id` must be in [0, num_processes); got {got}. The first process "
            "has the number 0."
        )

"""Options of a session of training that do not change what is trained."""

from dataclasses import dataclass
from typing import Any, Literal

from jax.sharding import Mesh

import softsde as ss


@dataclass(frozen=True)
class ScaleConfig:
    """Devices, hosts, and what is watched. All of it may change between sessions."""

    fsdp: int = 1
    """Split weights, averages and moments over this many devices; 1 copies them."""
    accumulate: int = 1
    """Compute each gradient in this many parts of the batch, to save memory."""
    steps_per_call: int = 1
    """Steps that run as one program; more than 1 helps where a step takes little."""
    on_non_finite: Literal["raise", "skip"] = "raise"
    """Action for a batch whose loss is not finite: stop, or skip it."""
    tensorboard: bool = False
    """Also write the curves as event files of TensorBoard."""
    profile: int | None = None
    """Trace this many steps with JAX's profiler, to the folder `profile`."""
    keep_every: int | None = None
    """Keep the checkpoint of every so many steps, besides the newest two."""
    mirror: str | None = None
    """Keep a copy of the run there, e.g. gs://BUCKET/RUN, or a folder; a machine
    without the run fetches it from there. A resumed run remembers it."""
    mirror_seconds: float = 60.0
    """Seconds between two renewals of that copy."""
    coordinator: str | None = None
    """Address and port of the first of several processes, e.g. 10.0.0.1:1234.
    Not needed under Slurm and on TPU slices."""
    num_processes: int | None = None
    """Number of processes; with `coordinator` only."""
    process_id: int | None = None
    """Number of this process, from 0; with `coordinator` only."""

    def start(self) -> None:
        """Joins the other processes. Nothing may have touched a device before."""
        ss.train.start_hosts(self.coordinator, self.num_processes, self.process_id)

    def mesh(self) -> Mesh:
        """The mesh over the devices of all processes."""
        return ss.train.make_mesh(fsdp=self.fsdp)

    def fit_options(self) -> dict[str, Any]:
        """The options of `softsde.train.fit` that are set here."""
        return {
            "steps_per_call": self.steps_per_call,
            "on_non_finite": self.on_non_finite,
            "tensorboard": self.tensorboard,
            "profile_steps": self.profile,
            "keep_every": self.keep_every,
        }

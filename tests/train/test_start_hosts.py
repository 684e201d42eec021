"""Finding the processes of a job, and what is wrong with half a description of one."""

import jax
import pytest

from softsde import train
from softsde.train import _distributed

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_NTASKS": "4",
    "SLURM_PROCID": "2",
    "SLURM_STEP_NODELIST": "node[1-2]",
}


@pytest.mark.parametrize(
    "environment, kind",
    [
        ({}, None),
        (SLURM, "slurm"),
        (SLURM | {"SLURM_NTASKS": "1"}, None),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, None),  # `salloc` without `srun`
        ({"TPU_WORKER_HOSTNAMES": "a,b", "TPU_WORKER_ID": "1"}, "tpu"),
        ({"TPU_WORKER_HOSTNAMES": "a", "TPU_WORKER_ID": "0"}, None),
        ({"JAX_COORDINATOR_ADDRESS": "10.0.0.1:1234"}, "jax"),
    ],
)
def test_jobs_are_found_in_the_environment(environment, kind, monkeypatch):
    monkeypatch.setattr(_distributed, "_has_tpu", lambda: False)
    assert _distributed.job_in(environment) == kind


def test_a_tpu_vm_without_variables(monkeypatch):
    monkeypatch.setattr(_distributed, "_has_tpu", lambda: True)
    assert _distributed.job_in({}) == "tpu"
    assert _distributed.job_in({"JAX_PLATFORMS": "cpu"}) is None


@pytest.mark.parametrize(
    "given, message",
    [
        (("10.0.0.1:1234", None, 0), "given together.*`num_processes=None`"),
        ((None, 2, 0), "given together.*`coordinator=None`"),
        (("10.0.0.1", 2, 0), "address and a port.*got '10.0.0.1'"),
        (("10.0.0.1:1234", 2, 2), r"`process_id` must be in \[0, num_processes\)"),
    ],
)
def test_half_a_description(given, message):
    with pytest.raises(ValueError, match=message):
        train.start_hosts(*given)


def test_alone_nothing_happens(monkeypatch):
    monkeypatch.setattr(_distributed, "job_in", lambda environment: None)
    assert not train.start_hosts()
    assert jax.process_count() == 1
    with train.first_host_first():
        assert train.is_first_host()
    assert train.first_host_says(True) and not train.first_host_says(False)

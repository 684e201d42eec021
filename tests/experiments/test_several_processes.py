"""`experiments.train` typed on several machines is one run, as on one."""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import softsde as ss

ROOT = pathlib.Path(__file__).parents[2]
TINY = [
    *("digits_blur", "--process", "soft_blur", "--process.max-blur", "5"),
    *("--network.base-channels", "8", "--network.channel-multipliers", "1"),
    *("--training.batch-size", "16", "--training.log-every", "4"),
    *("--sampling.num", "4", "--sampling.steps", "2", "--optimiser.warmup-steps", "2"),
    *("--optimiser.schedule", "constant"),
]


def start(words, devices, processes=1, process=0, port=0):
    command = [sys.executable, "-m", "experiments.train", *words, "--no-cache"]
    if processes > 1:
        command += ["--scale.coordinator", f"localhost:{port}"]
        command += ["--scale.num-processes", str(processes)]
        command += ["--scale.process-id", str(process)]
    flags = f"--xla_force_host_platform_device_count={devices}"
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_two(words):
    with socket.socket() as found:
        found.bind(("localhost", 0))
        port = found.getsockname()[1]
    return [start(words, 2, 2, process, port) for process in range(2)]


def ended(process, code=0):
    output, _ = process.communicate(timeout=400)
    assert process.returncode == code, output
    return output


@pytest.mark.slow
def test_two_processes_train_what_one_does_and_stop_together(tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    steps = ["--training.steps", "12", "--training.sample-every", "6"]
    split = ["--scale.fsdp", "2", "--optimiser.sigma-rel", "0.1"]
    words = [*TINY, *steps, *split, "--optimiser.average-every", "4", "--folder"]
    ended(start([*words, str(alone)], devices=4))
    first, second = map(ended, start_two([*words, str(together)]))
    # One of them prints and writes.
    assert "finished at step 12" in first
    assert "step" not in second
    losses = [
        [row["loss"] for row in ss.train.read_metrics(folder / "metrics.jsonl")]
        for folder in (alone, together)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert sorted(p.name for p in (together / "averages").iterdir()) == sorted(
        p.name for p in (alone / "averages").iterdir()
    )
    # A machine that is taken away stops both; one process goes on with the run.
    resumed = ["--resume", str(together), "--training.steps", "100000", *split[:2]]
    both = start_two(resumed)
    log = together / "metrics.jsonl"
    size = log.stat().st_size
    began = time.monotonic()
    while log.stat().st_size == size:
        assert time.monotonic() - began < 300
        time.sleep(0.2)
    both[1].send_signal(signal.SIGTERM)
    for process in both:
        ended(process, 128 + signal.SIGTERM)
    step = ss.train.read_metrics(log)[-1]["step"]
    last = ["--resume", str(together), "--training.steps", str(step + 4)]
    assert f"finished at step {step + 4}" in ended(start(last, devices=1))

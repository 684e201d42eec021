"""Several hosts: two processes, each with its devices and its half of each batch."""

import multiprocessing
import os
import signal
import socket
import time

import numpy as np
import pytest
from regression import make_data, make_state, shared_step

from softsde import train


class Share:
    """One host's part of each batch."""

    def __init__(self, host, hosts):
        self.host, self.hosts, self.data = host, hosts, iter(make_data())

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self.data)
        size = len(batch["x"]) // self.hosts
        share = slice(self.host * size, (self.host + 1) * size)
        return {name: value[share] for name, value in batch.items()}

    def get_state(self):
        return self.data.get_state()

    def set_state(self, state):
        self.data.set_state(state)


def be_host(host, port, folder, num_steps, pause):
    import jax

    assert train.start_hosts(f"localhost:{port}", 2, host)
    assert len(jax.local_devices()) == 2 and jax.device_count() == 4
    result = train.fit(
        make_state(),
        Share(host, 2),
        shared_step(4),
        num_steps=num_steps,
        folder=folder,
        checkpoint_every=5,
        log_every=3,
        callbacks=[(1, lambda *_: time.sleep(pause))],
        progress=False,
    )
    np.save(os.path.join(folder, f"weight-{host}.npy"), result.state.model.weight)


def run_hosts(folder, num_steps, pause=0.0, during=lambda hosts: None):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("forkserver")
    hosts = [
        context.Process(
            target=be_host,
            args=(host, port, str(folder), num_steps, pause),
            daemon=True,
        )
        for host in range(2)
    ]
    for host in hosts:
        host.start()
    during(hosts)
    for host in hosts:
        host.join(300)
    codes = [host.exitcode for host in hosts]
    for host in hosts:
        host.kill()
    return codes


@pytest.mark.slow
def test_hosts_train_as_one(tmp_path):
    """Stopped by a signal to one of them, they agree on a step, and resume from it."""

    def stop_the_second(hosts):
        curve = tmp_path / "metrics.jsonl"
        while not (curve.exists() and curve.read_bytes()):
            assert hosts[1].is_alive()
            time.sleep(0.01)
        hosts[1].terminate()

    codes = run_hosts(tmp_path, 24, pause=0.1, during=stop_the_second)
    assert codes == [128 + signal.SIGTERM] * 2
    with train.Checkpointer(tmp_path / "checkpoints", read_only=True) as checkpoints:
        stopped = checkpoints.latest_step()
    assert stopped is not None and 3 < stopped < 24 and stopped % 3 == 0
    assert run_hosts(tmp_path, 24) == [0, 0]

    state, data, losses = make_state(), iter(make_data()), []
    for _ in range(24):
        state, metrics = shared_step(2)(state, next(data))
        losses.append(float(metrics["loss"]))
    for host in range(2):
        weight = np.load(tmp_path / f"weight-{host}.npy")
        np.testing.assert_allclose(weight, state.model.weight, rtol=1e-5, atol=1e-6)
    rows = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(3, 25, 3))
    expected = np.reshape(losses, (8, 3)).mean(axis=1)
    np.testing.assert_allclose([row["loss"] for row in rows], expected, rtol=1e-4)

"""The real data and a split state on two and four processes, against one process."""

import json
import multiprocessing
import os
import pathlib
import socket

import numpy as np
import pytest

STEPS = 8


def work(host, hosts, port, fsdp, folder):
    """Does the work of each process; `hosts == 1` is the run to compare with."""
    import jax

    import softsde as ss
    from softsde import data, losses, nn, train

    if hosts > 1:
        assert train.start_hosts(f"localhost:{port}", hosts, host)
    mesh = train.make_mesh(fsdp=fsdp)
    source = data.digits()
    process = ss.soft_blur((8, 8, 1), max_blur=3.0)
    optimiser = train.make_optimiser(1e-3, warmup_steps=2)

    def make_model(key):
        network = nn.UNet(
            (8, 8, 1),
            base_channels=16,
            channel_multipliers=(1,),
            blocks_per_level=1,
            key=key,
        )
        return ss.Denoiser(network, process)

    def batches():
        return data.make_loader(
            source,
            8,
            transforms=[data.RandomFlip()],
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )

    def new():
        key = jax.random.key(0)
        return train.init_state(
            make_model, optimiser, key=key, mesh=mesh, sigma_rel=(0.05, 0.1)
        )

    loss_fn = losses.on_batches(losses.SoftScoreMatching("inverse_std"))
    step = train.make_train_step(loss_fn, optimiser, mesh=mesh)
    snapshots = train.Snapshots(pathlib.Path(folder, "snapshots"))
    result = train.fit(
        new(),
        batches(),
        step,
        num_steps=STEPS,
        folder=folder,
        checkpoint_every=STEPS // 2,
        log_every=2,
        keep=2,
        callbacks=[(STEPS // 2, snapshots)],
        progress=False,
    )
    averaged = train.gather(result.state.ema)
    drawn = ss.sample(
        result.state.ema,
        prior=ss.GaussianPrior.fit(process, data.to_array(source, limit=32)),
        num_samples=8,
        num_steps=3,
        mesh=mesh,
        key=jax.random.key(1),
    )
    samples = train.gather(drawn.x)
    np.savez(
        pathlib.Path(folder, f"{hosts}-{host}.npz"),
        averaged=flat(averaged.network),
        reconstructed=flat(snapshots.reconstruct(averaged, 0.07).network),
        samples=np.asarray(samples),
    )


def flat(network):
    """Every number of a network, one after another."""
    import jax

    leaves = [x for x in jax.tree.leaves(network) if isinstance(x, jax.Array)]
    return np.concatenate([np.ravel(x) for x in leaves])


def run(hosts, fsdp, folder, devices):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    before = os.environ["XLA_FLAGS"]
    flag = f"--xla_force_host_platform_device_count={devices}"
    os.environ["XLA_FLAGS"] = f"{before} {flag}"
    try:
        # `spawn`: a process must not inherit a JAX that has started.
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(
                target=work, args=(host, hosts, port, fsdp, str(folder)), daemon=True
            )
            for host in range(hosts)
        ]
        for process in processes:
            process.start()
    finally:
        os.environ["XLA_FLAGS"] = before
    for process in processes:
        process.join(600)
    codes = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
    assert codes == [0] * hosts


def results(folder, hosts):
    return [dict(np.load(folder / f"{hosts}-{i}.npz")) for i in range(hosts)]


def curve(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(row["step"], row["loss"]) for row in map(json.loads, lines)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    run(1, 1, folder, 1)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("hosts, fsdp", [(2, 1), (2, 2), (4, 4)])
def test_processes_together_are_one(alone, tmp_path, hosts, fsdp):
    """Losses, averages and samples, up to float32 rounding; split over the hosts too.

    Adam amplifies the rounding of gradients that vanish: weights agree to a tenth of
    one step of 1e-3.
    """
    run(hosts, fsdp, tmp_path, 1)
    (truth,) = results(alone, 1)
    for found in results(tmp_path, hosts):
        for average in ("averaged", "reconstructed"):
            np.testing.assert_allclose(found[average], truth[average], atol=1e-4)
        np.testing.assert_allclose(found["samples"], truth["samples"], atol=1e-3)
    np.testing.assert_allclose(curve(tmp_path), curve(alone), rtol=1e-4)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(alone, tmp_path):
    """Two processes wrote half of it, with the state split over both; one ends it."""
    run(2, 2, tmp_path, 1)
    import shutil

    shutil.rmtree(tmp_path / "checkpoints" / str(STEPS))
    run(1, 1, tmp_path, 1)
    (truth,), (found,) = results(alone, 1), results(tmp_path, 1)
    np.testing.assert_allclose(found["averaged"], truth["averaged"], atol=1e-4)
    np.testing.assert_allclose(curve(tmp_path), curve(alone), rtol=1e-4)
